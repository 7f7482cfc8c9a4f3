"""``fthall submit``: a submission folder of what somebody already has."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from fthall.commands.options import adapter_option, given_release, release_option
from fthall.commands.progress import quiet, say
from fthall.errors import FthallError

NAME = "submit"
HELP = "write a submission folder of a checkpoint, a finished run or what lm-eval wrote"
_QUESTIONS = {
    "track": "Track (fthall tracks lists them)",
    "entry": "Entry: a short name of a-z, 0-9 and -, the same for all its seeds",
    "title": "Title, as the leaderboard shows it",
    "method": "Method: the family, e.g. sft, lora, self-distill",
    "seed": "Seed of the training",
    "trained_on": "Trained on: known, or known and unknown",
    "authors": "Authors, with commas between them",
    "contact": "Contact: an address people may write to",
    "hardware": "Hardware it was trained on",
    "command": "Command that was typed to train it",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "what",
        help="a checkpoint or adapter (folder or Hugging Face id), the folder of a finished fthall run, or the "
        "--output_path of lm_eval --log_samples",
    )
    parser.add_argument(
        "--card", type=Path, help="YAML: see submissions/README.md; what it lacks is asked on a terminal"
    )
    parser.add_argument("--out", type=Path, default=Path("submissions"))
    parser.add_argument(
        "--published", metavar="WHERE", help="where everybody can fetch the weights: owner/name@COMMIT, or https://…/"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="folder of the published weights, where WHAT is lm-eval's output, or a model whose delta is published",
    )
    parser.add_argument("--trained-on", metavar="FILE", help="the training data: hashes of its questions are handed in")
    parser.add_argument("--revision")
    adapter_option(parser, "WHAT")
    release_option(parser)


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.finetune import read_run
    from fthall.knowledge import splits
    from fthall.submissions import make
    from fthall.submissions.make.write import ASKED, read_card

    quiet()
    place = Path(options.what).expanduser()
    finished = (place / "run.json").is_file()
    written = not finished and place.exists() and make.is_output(place)
    card = read_card(options.card)
    known = {"entry", "title", "method", "seed", "trained_on", "hardware"} if finished else set[str]()
    if written:
        known = {"command"}
    release = given_release(options)
    if release:
        card.setdefault("track", release.track)
    elif finished and "track" not in card:
        digest = read_run(place)["release"]
        own = [name for name in splits.tracks() if splits.manifest(name)["digest"] == digest]
        card |= {"track": own[0]} if own else {}
    _ask(card, [name for name in ASKED if name not in card and name not in known])
    if "track" not in card:
        raise FthallError("the card lacks track; fthall tracks lists them")
    release = release or splits.load(str(card["track"]))
    given = make.Given(
        card=card,
        release=release,
        out=options.out,
        published=options.published,
        trained=make.trained_hashes(options.trained_on) if options.trained_on else (),
    )
    argument = str(options.release or release.track)
    if finished:
        made = make.of_finished_run(place, given, argument)
    elif written:
        made = make.from_output(place, given, checkpoint=options.checkpoint)
    else:
        made = make.from_checkpoint(
            options.what,
            given,
            track_argument=argument,
            weights=options.checkpoint,
            revision=options.revision,
            adapter_base=options.adapter_base,
        )
    say(f"{made}: valid")
    if "checkpoint:" not in (made / "submission.yaml").read_text(encoding="utf-8"):
        say(
            "Its weights are not pinned, so nobody can verify it. Once they are published, delete the folder and type "
            "the same again with --published owner/name@COMMIT"
        )
    say(f"Next: git switch -c {made.name} && git add {made} && git commit -m 'Submit {made.name}'")
    say(f"      git push --set-upstream origin {made.name}")
    say("Then open a pull request")


def _ask(card: dict[str, Any], lacking: list[str]) -> None:
    """Ask on a terminal for what a card lacks; elsewhere it is refused later, with all that is missing."""
    if not (lacking and sys.stdin.isatty()):
        return
    from rich.prompt import Prompt

    for name in lacking:
        said = Prompt.ask(_QUESTIONS[name]).strip()
        match name:
            case "trained_on" | "authors":
                card[name] = [part.strip() for part in re.split(r",| and ", said) if part.strip()]
            case "seed" if said.isdecimal():
                card[name] = int(said)
            case _:
                card[name] = said
