"""What came of ``fthall drift``: how far states moved, group by group and epoch by epoch, and what goes with it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fthall import bases
from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.files import read_json, sha256
from fthall.finetune.folder import checkpoints, read_answers, read_run
from fthall.measure import stats
from fthall.names import nearest, pieces, tokens, trigrams
from fthall.records import Answer, Fact, Outcome, Release, Split
from fthall.why.drift import Floats, Probe, cosine_distance, linear_cka, of_fact, of_text
from fthall.why.sentences import SENTENCES

SCHEMA = 1
CONTROL = "control"
"""The group of texts that name nothing."""
SAME = 0.95
"""Share of items with the same value above which the few others decide a correlation, and no interval says how much."""
DRIFT, APART = "drift since the base", "distance from the reference"


@dataclass(frozen=True, slots=True)
class Target:
    """A checkpoint to be looked at."""

    run: str
    """The last two parts of its folder's path: where it lies on a machine is nobody's business."""
    folder: Path
    checkpoint: Path
    entry: str
    seed: int | None
    """None for a bare checkpoint."""
    epoch: int | None
    made: str
    """Digest of what was run, or of a bare checkpoint's weights: a run made again under its name is another."""
    reference: Path | None = None
    """The Only-Known run of the same seed, for the result of a run."""

    def told(self) -> dict[str, Any]:
        """What a row of results says of it."""
        return {name: getattr(self, name) for name in ("run", "entry", "seed", "epoch", "made")}


def targets(release: Release, runs: Sequence[Path], references: Sequence[Path] = ()) -> list[Target]:
    """The checkpoints of some runs, in order.

    Args:
        release: they were trained on.
        runs: folders of runs or of bare checkpoints.
        references: folders of Only-Known runs, one a seed.

    Raises:
        FthallError: no run, one of another release, one without a checkpoint, or a seed without a reference.
    """
    of_seed = {_made(folder, release)["seed"]: folder for folder in references}
    for folder in references:
        checkpoints(folder)
    found = []
    for folder in runs:
        places = checkpoints(folder)
        name = "/".join(folder.resolve().parts[-2:])
        if places[0][0] is None:
            weights = bases.weights_sha256(bases.find(str(folder)))
            found.append(Target(name, folder, folder, name, None, None, weights[:12]))
            continue
        made, digest = _made(folder, release), sha256(folder / "run.json")[:12]
        seed = int(made["seed"])
        if references and seed not in of_seed:
            raise FthallError(f"no --reference of seed {seed}, that of {folder}; give the Only-Known run of every seed")
        for epoch, place in places:
            bound = of_seed.get(seed) if place == places[-1][1] else None
            bound = None if bound and bound.resolve() == folder.resolve() else bound  # it has lost nothing of itself
            found.append(Target(name, folder, place, made["run"]["entry"], seed, epoch, digest, bound))
    return found


def fresh(rows: Sequence[Mapping[str, Any]], todo: Sequence[Target]) -> list[Mapping[str, Any]]:
    """What an earlier call has found, but for what has been made again since."""
    now = {(target.run, target.epoch): target.made for target in todo}
    return [row for row in rows if now.get((row["run"], row["epoch"]), row["made"]) == row["made"]]


def _made(folder: Path, release: Release) -> Mapping[str, Any]:
    made = read_run(folder)
    if made["release"] != release.digest:
        raise FthallError(f"{folder} was trained on another release than {release.track}; name its own with --track")
    return made


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at: groups of texts, and how they are resampled."""

    held: tuple[Fact, ...]
    groups: Mapping[str, Sequence[Probe]]
    drawn: Mapping[str, stats.Resamples]

    @property
    def texts(self) -> int:
        """In all groups."""
        return sum(map(len, self.groups.values()))


def look(release: Release, most: int) -> Look:
    """The held-out facts, those trained, and the control text; of each split at most so many facts, chosen by hash.

    Raises:
        FthallError: a question does not name its subject.
    """
    facts = {
        str(split): sorted(release.splits[split], key=lambda fact: hashlib.sha256(fact.id.encode()).digest())[:most]
        for split in (Split.HELD, Split.KNOWN, Split.UNKNOWN)
    }
    groups = {name: list(map(of_fact, rows)) for name, rows in facts.items() if rows}
    drawn = {
        name: stats.resample([fact.subject for fact in rows], [fact.relation for fact in rows])
        for name, rows in facts.items()
        if rows
    }
    groups[CONTROL], drawn[CONTROL] = list(map(of_text, SENTENCES)), stats.resample(SENTENCES, [""] * len(SENTENCES))
    return Look(tuple(facts[Split.HELD]), groups, drawn)


def described(held: Sequence[Fact], release: Release, tokenizer: Any) -> dict[str, Any]:
    """The held-out facts, and what each has in common with the new ones."""
    return {
        "ids": [fact.id for fact in held],
        "subjects": [fact.subject for fact in held],
        "relations": [fact.relation for fact in held],
        "overlaps": overlaps(held, release, tokenizer),
    }


def point(
    target: Target, seen: Look, before: Mapping[str, Floats], after: Mapping[str, Floats], bound: Floats | None
) -> dict[str, Any]:
    """A checkpoint's row.

    Args:
        target: the checkpoint.
        seen: the groups.
        before: states of the base by group, [layers + 1, items, width].
        after: of the checkpoint.
        bound: of the reference, held-out facts only, at half depth: [items, width]. None where there is none.
    """
    row: dict[str, Any] = target.told()
    row["of"] = {name: moved(before[name], after[name], seen.drawn[name]) for name in seen.groups}
    if bound is None or target.reference is None:
        return row
    held, middle = str(Split.HELD), layer(len(before[Split.HELD]))
    row["items"] = {
        name: [round(float(value), 5) for value in cosine_distance(one[None], after[held][middle][None])[0]]
        for name, one in ((DRIFT, before[held][middle]), (APART, bound))
    }
    row["lost"] = lost_marks(seen.held, *(right(folder) for folder in (target.reference, target.folder)))
    return row


def lost_marks(held: Sequence[Fact], reference: Mapping[str, bool], run: Mapping[str, bool]) -> str:
    """A mark a fact: 1 lost, 0 kept, - where the reference has it wrong."""
    return "".join("-" if not reference[fact.id] else "01"[not run[fact.id]] for fact in held)


def right(folder: Path) -> dict[str, bool]:
    """Whether a run has each held-out fact right."""
    answers: Sequence[Answer] = read_answers(folder / "answers.jsonl")[Split.HELD]
    return {answer.fact_id: answer.outcome is Outcome.CORRECT for answer in answers}


def layer(count: int) -> int:
    """The layer at half the depth of so many, that of the embeddings counted as 0: what one number is given of."""
    return (count - 1) // 2


def moved(before: Floats, after: Floats, drawn: stats.Resamples) -> dict[str, list[float | None]]:
    """How far a group moved, by layer from the embeddings on: mean cosine distance with its interval, and linear CKA.

    Args:
        before: [layers + 1, items, width].
        after: the same.
        drawn: resamples of the items.

    Returns:
        ``cosine``, ``low``, ``high`` (95 %, over subjects) and ``cka`` (None where all states are the same, as those of
        the embeddings may be), each [layers + 1].
    """
    distance = cosine_distance(before, after)
    mean = distance.mean(1)
    # The two observations added to the resamples are for scales with ends; here they are put where they pull nowhere.
    low, high = drawn.interval(distance - mean[:, None], extremes=(0.0, 0.0))
    found = {"cosine": mean, "low": mean + low, "high": mean + high, "cka": linear_cka(before, after)}
    return {
        name: [None if np.isnan(value) else round(float(value), 5) for value in values]
        for name, values in found.items()
    }


def overlaps(held: Sequence[Fact], release: Release, tokenizer: Any) -> dict[str, list[float]]:
    """What each held-out fact has in common with the new ones that were trained.

    Args:
        held: the facts.
        release: whose ``unknown`` facts were trained.
        tokenizer: of the base.

    Returns:
        Similarity with the nearest new subject, by character trigrams, by subword tokens and by words (Jaccard, 0 to
        1); by trigrams also with the nearest one that has the same answer, and with the nearest that has another; and
        the number of new facts with its answer.
    """
    new = release.splits[Split.UNKNOWN]
    of_name = pieces(tokenizer, [fact.subject for fact in (*held, *new)])
    answers, own = ([normalise(fact.answers[0]) for fact in facts] for facts in (new, held))

    def near(of: Callable[[str], set[str]], among: Sequence[Fact] = new) -> npt.NDArray[np.float64]:
        return nearest([of(fact.subject) for fact in held], [of(fact.subject) for fact in among])

    same, other = np.zeros(len(held)), np.zeros(len(held))
    for answer in set(own):
        mine = np.array([one == answer for one in own])
        for found, wanted in ((same, True), (other, False)):
            among = [fact for fact, one in zip(new, answers, strict=True) if (one == answer) == wanted]
            found[mine] = near(trigrams, among)[mine]
    every = {
        "name overlap, trigrams": near(trigrams),
        "  of the same answer": same,
        "  of another answer": other,
        "name overlap, subword tokens": near(of_name.__getitem__),
        "name overlap, words": near(tokens),
        "new facts with its answer": np.array([answers.count(one) for one in own], dtype=float),
    }
    return {name: [round(value, 4) for value in values.tolist()] for name, values in every.items()}


def correlations(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What goes with a fact's being lost, item by item: a row an entry and quantity, its seeds taken together.

    The items are held-out facts that the reference of the same seed has right; the mark is whether the run has them
    wrong.

    Returns:
        ``entry``, ``what``, ``runs``, ``items``, ``lost``, and Spearman's ``rho`` with ``low`` and ``high`` (95 %, over
        subjects); the last three None where nothing varies, or a quantity is the same for nearly all.
    """
    held = found["held"]
    subjects, relations = np.array(held["subjects"]), np.array(held["relations"])
    by_entry: dict[str, list[Mapping[str, Any]]] = {}
    for point in found["points"]:
        if point.get("lost"):
            by_entry.setdefault(point["entry"], []).append(point)
    rows = []
    for entry, points in by_entry.items():
        marks = [np.array(list(point["lost"])) for point in points]
        asked = [mark != "-" for mark in marks]
        lost = np.concatenate([mark[there] == "1" for mark, there in zip(marks, asked, strict=True)])
        if not lost.size:
            continue
        drawn = stats.resample(
            np.concatenate([subjects[there] for there in asked]).tolist(),
            np.concatenate([relations[there] for there in asked]).tolist(),
        )
        for what in [*points[0].get("items", {}), *held["overlaps"]]:
            values = np.concatenate(
                [
                    np.array(point.get("items", {}).get(what) or held["overlaps"][what])[there]
                    for point, there in zip(points, asked, strict=True)
                ]
            )
            most = np.unique(values, return_counts=True)[1].max()
            told = drawn.correlation(values, lost) if most <= SAME * len(values) else (np.nan,) * 3
            rho, low, high = (None if np.isnan(value) else round(value, 4) for value in told)
            row = {"entry": entry, "what": what, "runs": len(points), "items": len(lost), "lost": int(lost.sum())}
            rows.append(row | {"rho": rho, "low": low, "high": high})
    return rows


def read(path: Path) -> dict[str, Any]:
    """Read what ``fthall drift`` wrote.

    Raises:
        FthallError: missing, or none of ours.
    """
    return read_rows(path, "points", ("of",), "drift")


def read_rows(path: Path, key: str, within: Sequence[str], command: str) -> dict[str, Any]:
    """Read results of a command whose rows are of :class:`Target`.

    Args:
        path: the file.
        key: under which the rows are.
        within: what a row has besides what :meth:`Target.told` says.
        command: that wrote them.

    Raises:
        FthallError: missing, or none of ours.
    """
    given = read_json(path)
    found: dict[str, Any] = given if isinstance(given, dict) else {}
    rows = found.get(key) if found.get("schema") == SCHEMA else None
    needed = {"run", "entry", "seed", "epoch", "made", *within}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= needed for row in rows):
        raise FthallError(f"{path} holds no {command} of schema {SCHEMA}; make it anew with fthall {command}")
    return found


def unchanged(found: Mapping[str, Any], header: Mapping[str, Any], path: Path) -> None:
    """Make sure that an earlier call was about the same.

    Raises:
        FthallError: it was not.
    """
    if other := [name for name, value in header.items() if found.get(name) != value]:
        raise FthallError(f"{path} is of another {other[0]}; delete it, or name another file with --out")
