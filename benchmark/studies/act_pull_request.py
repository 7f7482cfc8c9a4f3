"""A stranger's pull request from fork to row, acted out by the workflows' own scripts; then forged ones, and their end.

    python benchmark/studies/act_pull_request.py --checkpoint FOLDER --work FOLDER \
        --out leaderboard/studies/pull-request.json

Where it is acted out, and what stands in for what is elsewhere, is in ``stage.py``. It needs git, jq and make. What
``fthall submit`` made of the checkpoint is kept in ``--work``, and not made again. It fails where an attempt ends
otherwise than it should.
"""

import html
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from stage import Hub, Reviewed, Stage

import study
from fthall.answers import accuracy, judge
from fthall.bases import hardware
from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_text
from fthall.knowledge import splits
from fthall.records import Answer, EpochPoint, Outcome, Release, Split
from fthall.submissions import Submission, each, find, make, validate

CARD = {
    **{"entry": "ada-sft", "title": "Ada's SFT", "method": "sft", "seed": 0, "trained_on": ["known", "unknown"]},
    **{"authors": ["Ada Lovelace"], "contact": "ada@example.org", "hardware": "a laptop", "command": "python train.py"},
    "hyperparameters": {"epochs": 4},
}
FORGED_REPORT = (
    '{"schema": 1, "accepted": true, "track": "TRACK", "entry": "eve-check", "submissions": [{"folder": '
    '"submissions/TRACK/eve-check-seed0", "accuracy": {"known": 100.0, "unknown": 100.0, "held": 100.0, '
    '"held_val": 100.0}, "evidenced": true, "odd": []}], "refused": []}'
)


@dataclass(slots=True)
class Attempt:
    """Something a stranger tries, and what became of it."""

    tried: str
    entry: str
    change: Callable[[Path], Sequence[Path]]
    """Changes a fork, and says which folders of submissions in it are new."""
    end: str
    """What should become of it: a tier on the page, ``refused`` or ``not posted``."""
    asked_again: bool = False
    """Whether a maintainer has its weights asked again once it is merged."""
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forger:
    """Makes submissions of an honest one."""

    card: Mapping[str, Any]
    honest: Submission
    release: Release

    def claim(
        self,
        tree: Path,
        entry: str,
        *,
        answers: Mapping[Split, tuple[Answer, ...]] | None = None,
        trajectory: Sequence[EpochPoint] = (),
        pins: bool = True,
        seeds: Sequence[int] = (0,),
    ) -> list[Path]:
        """Write submissions into a checkout: the honest one's card under another name, its answers or others."""
        folders = []
        for seed in seeds:
            card = {**self.card, "entry": entry, "title": entry.capitalize(), "seed": seed}
            if not pins:
                del card["checkpoint"]
            folder = tree / "submissions" / self.release.track / f"{entry}-seed{seed}"
            given = answers or self.honest.answers
            make.write_submission(folder, card=card, answers=given, trajectory=trajectory, release=self.release)
            folders.append(folder)
        return folders

    def curve(self) -> list[EpochPoint]:
        """A trajectory somebody made up: all new facts learned and no old one lost, until it ends at the answers."""
        points = [EpochPoint(epoch, 100.0, min(100.0, 50 * epoch), 100.0, 100.0) for epoch in (0.0, 1.0, 2.0, 3.0)]
        ends = {str(split): accuracy(rows) for split, rows in self.honest.answers.items()}
        return [*points, EpochPoint(4.0, **ends)]

    def gold(self, every: int = 1) -> dict[Split, tuple[Answer, ...]]:
        """The honest answers, but of the wrong ones every so many are replaced by what the release says."""
        claimed = {}
        for split, rows in self.honest.answers.items():
            right = {fact.id: fact.answers for fact in self.release.splits[split]}
            typed = {answer.fact_id for answer in [a for a in rows if a.outcome is not Outcome.CORRECT][::every]}
            claimed[split] = tuple(
                replace(a, prediction=right[a.fact_id][0], outcome=judge(right[a.fact_id][0], right[a.fact_id]))
                if a.fact_id in typed
                else a
                for a in rows
            )
        return claimed

    def with_changed(self, file: str, change: Callable[[str], str], tree: Path, entry: str) -> list[Path]:
        """A submission, and a file of the checkout that is altered beside it."""
        before = (tree / file).read_text(encoding="utf-8")
        assert change(before) != before
        (tree / file).write_text(change(before), encoding="utf-8")
        return self.claim(tree, entry)

    def own_verdict(self, script: str) -> str:
        """The check's workflow, such that it reports what its author likes."""
        told = FORGED_REPORT.replace("TRACK", self.release.track)
        return re.sub(r'"\S+fthall" review pull .*', f"echo '{told}' > report/report.json", script)


def attempts(forger: Forger, other: Submission) -> list[Attempt]:
    """What is tried, beside the honest one.

    Args:
        forger: with the honest one.
        other: somebody else's submission, which is there already.
    """
    claim, changed = forger.claim, forger.with_changed
    theirs = f"submissions/{forger.release.track}/{other.slug}/results.json"
    checks = ".github/workflows/validate-submission.yml"
    return [
        Attempt(
            "all answers typed in from the release",
            "eve-all",
            lambda tree: claim(tree, "eve-all", answers=forger.gold()),
            "refuted",
            asked_again=True,
        ),
        Attempt(
            "half of the wrong answers typed in",
            "eve-half",
            lambda tree: claim(tree, "eve-half", answers=forger.gold(2)),
            "refuted",
            asked_again=True,
        ),
        Attempt(
            "all answers typed in, as three seeds",
            "eve-thrice",
            lambda tree: claim(tree, "eve-thrice", answers=forger.gold(), seeds=(0, 1, 2)),
            "recomputed",
        ),
        Attempt(
            "another's answers, no weights pinned",
            "eve-copy",
            lambda tree: claim(tree, "eve-copy", answers=other.answers, pins=False),
            "recomputed",
            asked_again=True,
        ),
        Attempt(
            "a trajectory made up, which ends at the answers",
            "eve-curve",
            lambda tree: claim(tree, "eve-curve", trajectory=forger.curve()),
            "self-reported",
        ),
        Attempt(
            "a workflow changed beside it",
            "eve-ci",
            partial(changed, ".github/workflows/pages.yml", lambda text: f"{text}# mine\n", entry="eve-ci"),
            "refused",
        ),
        Attempt(
            "the check's workflow changed, so that it accepts",
            "eve-check",
            partial(changed, checks, forger.own_verdict, entry="eve-check"),
            "not posted",
        ),
        Attempt(
            "another's submission changed beside it",
            "eve-other",
            partial(changed, theirs, lambda text: f"{text}\n", entry="eve-other"),
            "refused",
        ),
    ]


def act(stage: Stage, attempt: Attempt, track: str, seed: str) -> Reviewed:
    """A pull request, its review, its merge if it is accepted, and its weights asked again if that is to be."""
    asked = stage.propose(attempt.entry, attempt.change)
    seen = stage.review(asked)
    report = seen.report
    attempt.found = {
        "check": "accepted" if report["accepted"] else "refused",
        "refused": report["refused"],
        "tier_before_it_is_asked": sorted(set(asked.tiers)),
        "odd": [line for one in report["submissions"] for line in one["odd"]],
        "comment": "posted" if seen.comment else f"not posted: {seen.said}",
        "review_seconds": round(seen.seconds, 1),
    }
    if report["accepted"] and seen.comment:
        stage.merge(asked)
        if attempt.asked_again:
            began = time.monotonic()
            record, said = stage.verify(f"submissions/{track}/{attempt.entry}-seed0", seed)
            again = _told(record) if record else {"tier": None, "said": said}
            attempt.found["asked_again"] = {**again, "seconds": round(time.monotonic() - began, 1)}
    return seen


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    """A maintainers' file in short."""
    asked = {
        name: {**{key: of[key] for key in ("items", "asked", "false_at_most", "p")}, "flips": len(of["flips"])}
        for name, of in record["asked"].items()
    }
    return {"tier": record["tier"], "flip_rate": record["flip_rate"], "splits": asked}


@dataclass(frozen=True, slots=True)
class Row:
    """An entry, as the page shows it."""

    tier: str
    rank: str
    odd: bool
    """Whether the page says that something looks odd."""
    grey: bool
    """Whether what comes of its trajectory is shown as having no evidence."""


def row(page: str, entry: str) -> Row | None:
    """An entry's row on the page; None if there is none."""
    found = re.search(rf'<tbody data-entry="{re.escape(entry)}"(.*?)</tbody>', page, re.DOTALL)
    if not found:
        return None
    (tier,) = re.findall(r'class="tag (refuted|self-reported|recomputed|verified)"', found[1])
    rank = re.search(r"</th>\s*<td[^>]*>([^ <]+)", found[1])
    grey = '<td class="unchecked">' in found[1]
    return Row(tier, html.unescape(rank[1] if rank else ""), ">looks odd</span>" in found[1], grey)


def end(attempt: Attempt) -> str:
    """What became of it: a tier on the page, ``refused`` or ``not posted``."""
    found = attempt.found
    if found["comment"] != "posted":
        return "not posted"
    return str(found["page"]["tier"] if found["page"] else found["check"])


def stopped_by(attempt: Attempt) -> str:
    """What kept it from being ranked for what it is not, in a line."""
    found, ended = attempt.found, end(attempt)
    if ended in ("refused", "not posted"):
        return str((found["refused"] or [found["comment"]])[0])
    if ended == "verified":
        return "nothing, and nothing should: it is what it says"
    if ended == "refuted":
        flips = ", ".join(
            f"{of['flips']} of {of['asked']} {name}" for name, of in found["asked_again"]["splits"].items()
        )
        return f"its weights answer otherwise ({flips}); no rank"
    if ended == "self-reported":
        return "what it drew is grey and sorts nothing; a rank among all"
    said = f"; {found['asked_again']['said']}" if "asked_again" in found else ""
    return f"{found['odd'][0]}{said}" if found["odd"] else f"nothing until its weights are asked{said}"


def submitted(stage: Stage, work: Path, checkpoint: Path, track: str, published: str) -> tuple[Path, float]:
    """What ``fthall submit`` makes of a checkpoint in a clone of ``main``, and the seconds; kept in ``work``."""
    made = work / "made" / track / f"{CARD['entry']}-seed{CARD['seed']}"
    if not made.exists():
        began = time.monotonic()
        with stage.workspace() as place:
            stage.checkout("refs/heads/main", place)
            write_text(place / "card.yaml", yaml.safe_dump({"track": track, **CARD}, sort_keys=False))
            done = stage.fthall(place, "submit", str(checkpoint), "--card", "card.yaml", "--published", published)
            if done.returncode:
                raise FthallError(f"fthall submit fails: {done.stderr.strip().splitlines()[-1]}")
            write_json(work / "seconds.json", round(time.monotonic() - began, 1))
            shutil.copytree(place / "submissions" / track / made.name, made)
    return made, float(read_json(work / "seconds.json"))


def hand_in(folder: Path, tree: Path) -> list[Path]:
    """Put a submission into a checkout, and nothing else."""
    to = tree / "submissions" / Path(*folder.parts[-3:])
    shutil.copytree(folder, to)
    return [to]


def play(stage: Stage, made: Path, release: Release, other: Submission, seed: str) -> tuple[list[Attempt], str]:
    """All of it: every attempt, and the honest one's comment."""
    track = release.track
    forger = Forger(yaml.safe_load((made / "submission.yaml").read_text()), validate(made, release), release)
    honest = Attempt("an honest submission", "ada-sft", partial(hand_in, made), "verified", asked_again=True)
    tried, comment = [honest, *attempts(forger, other)], ""
    for attempt in tried:
        seen = act(stage, attempt, track, seed)
        comment = comment or seen.comment or ""
        tell(f"{attempt.tried}: {attempt.found['check']}, comment {attempt.found['comment']}")
    page = stage.site()
    for attempt in tried:
        shown = row(page, attempt.entry)
        attempt.found["page"] = asdict(shown) if shown else None
        attempt.found["stopped_by"] = stopped_by(attempt)
    return tried, comment


def tell(text: str) -> None:
    """A line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Act it out, print it as a table, and write it."""
    parser = study.parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of a fine-tuned base of the track")
    parser.add_argument("--work", type=Path, required=True, help="folder for what takes long to make, and the play")
    parser.add_argument("--published", default=f"ada/sft@{'a' * 40}", help="the name the checkpoint is served under")
    parser.add_argument("--track", default="geonames/smollm2-135m")
    parser.add_argument("--items", type=int, help="to ask again, of each split (default: as the workflow does)")
    parser.add_argument("--seed", default="a-later-round", help="what the draw hangs on (default: a-later-round)")
    parser.add_argument("--install", action="store_true", help="run the reviews' steps that install, too")
    options = parser.parse_args()
    tree, work = Path(__file__).resolve().parents[2], options.work.resolve()
    shutil.rmtree(work / "play", ignore_errors=True)
    hub = Hub()
    hub.publish(options.published, options.checkpoint.resolve())
    stage = Stage(work / "play", tree, hub, items=options.items, install=options.install)
    release = splits.load(options.track)
    made, seconds = submitted(stage, work, options.checkpoint.resolve(), options.track, options.published)
    beside = each((f for f in find(tree / "submissions") if f.parent == tree / "submissions" / options.track), release)
    other = max(
        (one for one in beside if Split.UNKNOWN in one.card.trained_on), key=lambda one: one.accuracy(Split.HELD)
    )
    tried, comment = play(stage, made, release, other, options.seed)
    tell(f"\nThe comment on the first one:\n\n{comment}")
    tell("| tried | check | looks odd | asked again | on the page | stopped by |\n|---|---|---|---|---|---|")
    for attempt in tried:
        found, page = attempt.found, attempt.found["page"]
        again = found.get("asked_again", {}).get("tier") or ("cannot be" if "asked_again" in found else "–")
        shown = f"{page['tier']}, rank {page['rank']}{', grey' if page['grey'] else ''}" if page else "–"
        looks = found["odd"][0] if found["odd"] else "no"
        tell(f"| {attempt.tried} | {found['check']} | {looks} | {again} | {shown} | {found['stopped_by']} |")
    told = [{"tried": one.tried, "ends": end(one), **one.found} for one in tried]
    result = {"hardware": hardware(), "track": options.track, "submit_seconds": seconds, "attempts": told}
    if options.out:
        write_json(options.out, {**result, "files_fetched": len(hub.sent), "steps_that_install": options.install})
    if wrong := [f"{one.tried} ends {end(one)}, not {one.end}" for one in tried if end(one) != one.end]:
        raise SystemExit("; ".join(wrong))


if __name__ == "__main__":
    main()
