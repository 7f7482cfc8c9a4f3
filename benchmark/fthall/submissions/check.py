"""The checks that a submission is what it claims.

A submission is a folder of plain data, never executed and never unpickled::

    submissions/<source>/<base>/<entry>-seed<n>/
        submission.yaml      the card: who, what, how
        results.json         counts per split, and the trajectory if there is one
        samples/<split>.jsonl   every answer: {"fact_id": …, "prediction": …}
        outcomes.jsonl       what became of every question at every epoch, if there is a trajectory; optional
        trained_on.txt       hashes of the questions it was trained on, a line each; optional

The counts are redundant on purpose: they are recomputed here from the answers, with the one scorer, and must agree.
"""

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from fthall.answers import OUTCOMES, accuracy, counts, judge, normalise
from fthall.errors import FthallError
from fthall.files import json_object, read_json, read_lines, sha256
from fthall.knowledge import splits
from fthall.records import Answer, Outcome, Release, Split
from fthall.schema import parse, read_yaml, shown
from fthall.submissions import evidence, pinned
from fthall.submissions.card import Agreement, Card, Counts, Results, Submission

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_CARD_BYTES = 64 * 1024
"""YAML is slow to parse: the card has a bound of its own."""
MAX_PREDICTION = 500
MAX_UNLIKE = 0.05
"""Share of the answers lm-eval may find to be others than those during training; in float32 it is 0."""
TRAINED = "trained_on.txt"

_FEW = 2
"""Of a handful of facts one or two that differ say nothing."""
_FOLDER = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_SAMPLE = ("fact_id", "prediction")
_PLAIN = re.compile(r'\{"fact_id": ?"([^"\\\x00-\x1f]*)", ?"prediction": ?"([^"\\\x00-\x1f]*)"\}')
"""A line as fthall writes it, without anything that JSON has an escape for: read in a third of the time."""
_HASH = re.compile(r"[0-9a-f]{16}")


def question_hash(question: str) -> str:
    """What stands in ``trained_on.txt`` for a question: the first 16 hex digits of the SHA-256 of it, normalised."""
    return hashlib.sha256(normalise(question).encode()).hexdigest()[:16]


Judged = dict[tuple[str, str, str], Answer]
"""Answers that were judged before, by split, fact and prediction; of one release. Submissions give the same ones over
and over, so that a thousand of them take a tenth of the memory, and a third of the time."""


def validate(
    folder: Path, release: Release | None = None, *, checkpoint: Path | None = None, judged: Judged | None = None
) -> Submission:
    """Check a submission folder whole and return it; its counts are recomputed from its answers.

    Args:
        folder: ``…/<source>/<base>/<entry>-seed<n>``.
        release: the release to check against; by default the shipped one of the card's track, or, in a folder
            ``…/<source>/<base>@<digest>/<slug>``, the retired one of that digest.
        checkpoint: the folder of its checkpoint, to be compared with what the card pins; headers are read, no weights.
        judged: what other submissions of the same release answer; its own are added.

    Raises:
        FthallError: one line with the first thing that is wrong, where, and what is allowed.
    """
    digest = digest_of(folder)
    card_file = folder / "submission.yaml"
    card = parse(Card, read_yaml(card_file, f"no file {card_file}"), card_file)
    if folder.resolve().name != (name := f"{card.entry}-seed{card.seed}"):
        raise FthallError(f"{folder}: is seed {card.seed} of {card.entry!r}, so the folder's name must be {name}")
    results = parse(Results, read_json(folder / "results.json"), folder / "results.json")
    release = _release(folder, card, release)
    if card.base_weights_sha256 != release.manifest["base"]["weights_sha256"]:
        raise FthallError(f"{folder}: base_weights_sha256 is not that of the track's base model")
    _check_pinned(card_file, card, checkpoint)
    judged = {} if judged is None else judged
    answers = {split: _samples(folder / "samples" / f"{split}.jsonl", split, release, judged) for split in Split}
    for split, rows in answers.items():
        found = counts(rows)
        counted = Counts(**{str(outcome): found[outcome] for outcome in Outcome})
        if split not in results.counts:
            raise FthallError(f"{folder}/results.json: no counts for '{split}'")
        if (claimed := results.counts[split]) != counted:
            raise FthallError(
                f"{folder}/results.json: {split} claims {_show(claimed)}, its answers give {_show(counted)}"
            )
    _check_trajectory(folder, results, release)
    _check_agreement(folder, results, answers)
    evidenced = (folder / OUTCOMES).exists()
    if evidenced:
        evidence.check(folder, results, answers, release)
    return Submission(
        slug=folder.resolve().name,
        card=card,
        results=results,
        answers=answers,
        digest=digest,
        trained_questions=_trained(folder / TRAINED),
        evidenced=evidenced,
    )


def _release(folder: Path, card: Card, release: Release | None) -> Release:
    """The release a submission is checked against, after checking that it is of it and lies under its name."""
    if release is None:
        # Only what ships: a pull request must not bring the release it is checked against.
        if card.track not in splits.tracks():
            raise FthallError(f"{folder}: unknown track {card.track!r}; known tracks: {', '.join(splits.tracks())}")
        name = splits.retired_name(card.track, card.release)
        in_retired = folder.resolve().parent.name == Path(name).name and name in splits.retired()
        release = splits.load(name if in_retired else card.track)
    if card.track != release.track:
        raise FthallError(f"{folder}: track {card.track!r}, but the release is of {release.track!r}")
    if card.release != release.digest:
        old = splits.retired_name(card.track, card.release)
        what = f"{folder}: made on release {card.release[:12]}…"
        if old in splits.retired():
            raise FthallError(
                f"{what}, which is retired; {card.track} is at {release.digest[:12]}…: evaluate the checkpoint again "
                f"(fthall submit), or keep the submission under {old}/, where it is not ranked"
            )
        raise FthallError(
            f"{what}, but {card.track} is at {release.digest[:12]}…; "
            "evaluate the checkpoint again with this version of fthall"
        )
    places = {Path(name).parts for name in (card.track, splits.retired_name(card.track, card.release))}
    if folder.resolve().parts[-3:-1] not in places:
        raise FthallError(f"{folder} must lie in a folder …/{card.track}/<slug>")
    if empty := [split for split in Split if not release.splits[split]]:
        raise FthallError(f"{folder}: {card.track} has no facts in {empty[0]}: there is nothing to check")
    return release


def _check_pinned(card_file: Path, card: Card, checkpoint: Path | None) -> None:
    """That the checkpoint a card names can be of the track's base, and is the one in a folder, where one is given."""
    base = pinned.base_header(card.base_weights_sha256)
    if card.checkpoint is not None:
        pinned.check(card.checkpoint, base, str(card_file))
    if checkpoint is None:
        return
    if card.checkpoint is None:
        raise FthallError(f"{card_file} pins no checkpoint to compare {checkpoint} with; hand it in with one")
    if not checkpoint.is_dir():
        raise FthallError(f"{checkpoint} is no folder; give that of the checkpoint")
    pinned.check_files(card.checkpoint, checkpoint, base)


def _check_trajectory(folder: Path, results: Results, release: Release) -> None:
    """A point an epoch, the base's first, and every percentage a share of the items of its split."""
    epochs = [point.epoch for point in results.trajectory]
    if len(set(epochs)) < len(epochs):
        doubled = Counter(epochs).most_common(1)[0][0]
        raise FthallError(f"{folder}/results.json: the trajectory has epoch {doubled:g} twice; give each once")
    if epochs and 0 not in epochs:
        raise FthallError(
            f"{folder}/results.json: the trajectory lacks epoch 0, the base before training; put it first"
        )
    for point in results.trajectory:
        for split, facts in release.splits.items():
            said = getattr(point, split)
            right = None if said is None else said * len(facts) / 100
            if right is not None and abs(right - round(right)) > 1e-6:
                raise FthallError(
                    f"{folder}/results.json: epoch {point.epoch:g} claims {said:.6g} % on {split}, {right:.2f} of its "
                    f"{len(facts)} facts; give the share of a whole number of them, unrounded"
                )


def _check_agreement(folder: Path, results: Results, answers: dict[Split, tuple[Answer, ...]]) -> None:
    """The last point of a trajectory is the evaluated checkpoint, but for the answers said to differ.

    Where nothing is said of them, as many may as could be said to.
    """
    asked = {answer.fact_id: split for split, rows in answers.items() for answer in rows}
    differing = _differing(folder, results.agreement, asked) if results.agreement else None
    if not results.trajectory:
        return
    last = max(results.trajectory, key=lambda point: point.epoch)
    for split, rows in answers.items():
        found = accuracy(rows)
        if (said := getattr(last, split)) is None:
            if differing is None:
                continue
            raise FthallError(f"{folder}/results.json: the last point of the trajectory lacks {split}; give all splits")
        during = float(said)
        if differing is None:
            allowed = MAX_UNLIKE * len(rows) + _FEW
        else:
            allowed = sum(asked[fact_id] is split for fact_id in differing)
        if abs(found - during) > 100 * allowed / len(rows) + 1e-6:
            why = (
                "of another model" if differing is None else "and agreement.differing names too few facts to explain it"
            )
            raise FthallError(
                f"{folder}/results.json: the trajectory ends at {during:.2f} % on {split}, its answers give "
                f"{found:.2f} %, {why}"
            )


def _differing(folder: Path, said: Agreement, asked: Mapping[str, Split]) -> list[str]:
    """The facts an agreement names, if it can be one."""
    differing = said.differing
    if len(set(differing)) < len(differing) or not set(differing) <= asked.keys():
        raise FthallError(f"{folder}/results.json: agreement.differing must name facts of the release, each once")
    if said.compared != len(asked):
        raise FthallError(f"{folder}/results.json: agreement.compared is {said.compared}, the release has {len(asked)}")
    if len(differing) > MAX_UNLIKE * len(asked) + _FEW:
        raise FthallError(
            f"{folder}/results.json: agreement.differing names {len(differing)} of {len(asked)} facts; where more than "
            f"{100 * MAX_UNLIKE:g} % differ it is not the model that was trained"
        )
    return differing


def _show(counts: Counts) -> str:
    return " / ".join(f"{value} {name}" for name, value in counts.model_dump().items())


def digest_of(folder: Path) -> str:
    """The digest of a submission's files, after checking that they are the expected ones, none a link, none oversized.

    Raises:
        FthallError: as :func:`validate`.
    """
    if not folder.is_dir():
        raise FthallError(f"{folder} is no folder; give a submission's folder")
    if link := next((one for one in (folder, *folder.parents[:2]) if one.is_symlink()), None):  # it would count twice
        raise FthallError(f"{shown(link)} is a link; give the folder itself")
    if not _FOLDER.fullmatch(folder.resolve().name):
        raise FthallError(f"{shown(folder)}: the folder's name must be of a-z, 0-9 and -, at most 100")
    needed = {"submission.yaml", "results.json", *(f"samples/{split}.jsonl" for split in Split)}
    expected = {*needed, OUTCOMES, TRAINED}
    found = set()
    digest = hashlib.sha256()
    for name, path in _listed(folder):
        if path.is_symlink():
            raise FthallError(f"{shown(path.path)} is a link; submissions hold plain files only")
        if path.is_dir():
            if name != "samples":
                raise FthallError(f"unexpected folder {shown(path.path)}; allowed: samples")
            continue
        if name not in expected:
            raise FthallError(f"unexpected file {shown(path.path)}; allowed: {', '.join(sorted(expected))}")
        size = path.stat().st_size if path.is_file() else MAX_FILE_BYTES + 1
        if size > MAX_FILE_BYTES:
            raise FthallError(f"{path.path} is not a plain file of at most {MAX_FILE_BYTES // 2**20} MiB")
        if name == "submission.yaml" and size > MAX_CARD_BYTES:
            raise FthallError(f"{path.path} is larger than {MAX_CARD_BYTES // 1024} KiB")
        try:
            digest.update(f"{name}\n{sha256(path.path)}\n".encode())
        except OSError as error:
            raise FthallError(f"cannot read {path.path}: {error.strerror}") from None
        found.add(name)
    if missing := sorted(needed - found):
        raise FthallError(f"{folder} lacks {', '.join(missing)}")
    return digest.hexdigest()


def _listed(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All in it, in order, a folder before what is in it: names with those of the folders they are in, and entries.

    Raises:
        FthallError: it cannot be read.
    """

    def within(place: str, before: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with os.scandir(place) as listed:
            found = sorted(listed, key=lambda entry: entry.name)
        for entry in found:
            yield before + entry.name, entry
            if entry.is_dir(follow_symlinks=False):
                yield from within(entry.path, f"{before}{entry.name}/")

    try:
        yield from within(str(folder), "")
    except OSError as error:
        raise FthallError(f"cannot read {folder}: {error.strerror}") from None


def _trained(path: Path) -> frozenset[str]:
    """The hashes of the questions it was trained on; none where it does not say."""
    if not path.exists():
        return frozenset()
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        if not _HASH.fullmatch(line.decode("ascii", "replace")):
            raise FthallError(
                f"{path}, line {number}: expected 16 hex digits; fthall submit --trained-on FILE writes it"
            )
    if any(one >= other for one, other in itertools.pairwise(lines)):
        raise FthallError(f"{path}: its lines must be in order, each once; fthall submit --trained-on FILE writes it")
    return frozenset(line.decode() for line in lines)


def _samples(path: Path, split: Split, release: Release, judged: Judged) -> tuple[Answer, ...]:
    """Every answer of a split, in the release's order, judged by the one scorer."""
    said, facts = _said(path), release.splits[split]
    wanted = {fact.id for fact in facts}
    if said.keys() != wanted:
        lacking, extra = sorted(wanted - said.keys()), sorted(said.keys() - wanted)
        raise FthallError(
            f"{path}: {len(lacking)} facts of the release missing, {len(extra)} not in it"
            f" (first: {shown(json.dumps((lacking or extra)[0], ensure_ascii=False))[:200]})"
        )
    answers, name = [], split.value  # a member hashes in Python
    for fact in facts:
        key = name, fact.id, said[fact.id]
        if (answer := judged.get(key)) is None:
            answer = judged[key] = Answer(fact.id, split, said[fact.id], judge(said[fact.id], fact.answers))
        answers.append(answer)
    return tuple(answers)


def _said(path: Path) -> dict[str, str]:
    """The predictions of a file, by fact."""
    said: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if plain := _PLAIN.fullmatch(line):
            fact_id, prediction = plain.groups()
        else:
            fact_id, prediction = _sample(line, f"{path}, line {number}")
        if len(prediction) > MAX_PREDICTION:
            raise FthallError(
                f"{path}, line {number}: the prediction has {len(prediction)} characters, allowed are {MAX_PREDICTION}"
            )
        if fact_id in said:
            raise FthallError(
                f"{path}, line {number}: a duplicate: the fact_id {json.dumps(fact_id)[:200]} was answered before"
            )
        said[fact_id] = prediction
    return said


def _sample(line: str, where: str) -> tuple[str, str]:
    """A line's fact and prediction."""
    row = json_object(line, where)
    if row.keys() != {*_SAMPLE} or not all(isinstance(value, str) for value in row.values()):
        raise FthallError(f"{where}: expected fact_id and prediction, both strings, and nothing else")
    fact_id, prediction = row["fact_id"], row["prediction"]
    try:
        (fact_id + prediction).encode()
    except UnicodeEncodeError as error:
        raise FthallError(f"{where}: half a surrogate pair in a string ({error.reason})") from None
    return fact_id, prediction
