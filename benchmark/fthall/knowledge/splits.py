"""Categories in, a release out: the frozen splits of a track, and the checks that they are what they say.

A release is a folder ``<source>/<base>/`` with ``release.yaml`` (the manifest), one file a split, and the category of
every fact that was asked, kept or not. Facts that are ours to ship stand in ``<split>.jsonl`` and ``labels.csv``. Of
others only ids and categories do, in ``<split>.txt`` and ``labels.csv.gz``, and the facts are read from their source.

A release never changes. A track that is given another keeps the earlier one beside it, as ``<base>@<digest>/``:
retired, still verified, and what was submitted of it is kept and checked, but no longer ranked.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from fthall import facts as sources
from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.files import atomic, read_jsonl, sha256, write_jsonl, write_text
from fthall.knowledge.slick import tally
from fthall.paths import data_dir
from fthall.records import Category, Fact, Release, Split
from fthall.schema import read_yaml

SCHEMA = 1
MIN_HIGHLY_KNOWN = 0.30
"""A relation is kept if at least this share of its facts is HighlyKnown (arXiv 2604.15574)."""

RETIRED = "@"
"""Between a base and the digest of a release that its track no longer has."""

HELD_FROM = {"dev": {"dev"}, "all": {"dev", "train"}}
"""Origins of held-out facts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """By what a release is drawn."""

    min_highly_known: float = MIN_HIGHLY_KNOWN
    """Share of HighlyKnown facts that keeps a relation."""
    seed: int = 0
    held_from: str = "dev"
    """Of what origin held-out facts are: ``dev``, or ``all`` for what is left of both, where a base knows little."""
    given_away: bool = True
    """Whether facts are drawn whose answer stands in the subject's name; who knows them may only be copying."""

    def manifest(self) -> dict[str, Any]:
        """As a release states it; what is as the paper has it goes unsaid."""
        usual = Rule()
        said = {"min_highly_known": self.min_highly_known, "seed": self.seed}
        return said | {
            name: value
            for name in ("held_from", "given_away")
            if (value := getattr(self, name)) != getattr(usual, name)
        }


def given_away(fact: Fact) -> bool:
    """Whether an accepted answer stands in the subject's name: the Nokia 3310 is produced by Nokia."""
    name = f" {normalise(fact.subject)} "
    return any(f" {normalise(answer)} " in name for answer in fact.answers)


def releases_dir() -> Path:
    """Where the shipped releases are."""
    return data_dir("tasks") / "releases"


def tracks() -> list[str]:
    """The tracks that ship with fthall, sorted."""
    return [name for name in _shipped() if RETIRED not in name]


def retired() -> list[str]:
    """The retired releases that ship: ``<source>/<base>@<first 12 characters of the digest>``, sorted."""
    return [name for name in _shipped() if RETIRED in name]


def retired_name(track: str, digest: str) -> str:
    """What a release of a track is called once the track has another."""
    return f"{track}{RETIRED}{digest[:12]}"


def _shipped() -> list[str]:
    root = releases_dir()
    return sorted(str(file.parent.relative_to(root).as_posix()) for file in root.glob("*/*/release.yaml"))


def relation_table(facts: Sequence[Fact], labels: pd.DataFrame, rule: Rule) -> dict[str, dict[str, Any]]:
    """For each relation: how many facts were asked, how many fell in each category, and whether it is kept.

    By a rule without facts that are given away, also how many of the HighlyKnown are; these count for no relation.
    """
    table: dict[str, dict[str, Any]] = {}
    known = set(labels["fact_id"][labels["category"] == Category.HIGHLY_KNOWN])
    lost = Counter(fact.relation for fact in facts if not rule.given_away and fact.id in known and given_away(fact))
    for relation, rows in sorted(labels.groupby("relation")):
        counts = Counter(rows["category"])
        share = (counts[Category.HIGHLY_KNOWN] - lost[str(relation)]) / len(rows)
        table[str(relation)] = {
            "asked": len(rows),
            **{str(category): counts[category] for category in Category},
            "highly_known_share": round(share, 4),
            **({} if rule.given_away else {"given_away": lost[str(relation)]}),
            "kept": share >= rule.min_highly_known,
        }
    return table


def split(
    facts: Sequence[Fact],
    labels: pd.DataFrame,
    sizes: Mapping[Split, int],
    rule: Rule,
) -> dict[Split, tuple[Fact, ...]]:
    """Draw the four splits from labelled facts.

    ``known`` (HighlyKnown) and ``unknown`` (Unknown) come from origin ``train``; ``held_val`` and ``held``
    (HighlyKnown) from ``dev``, if the rule does not say otherwise; all from the kept relations only. No subject stands
    in two splits. The order is that of a seeded hash of the fact ids, so it does not hang on the order of the files.

    Raises:
        FthallError: a split comes out smaller than its size asks.
    """
    category = dict(zip(labels["fact_id"], labels["category"], strict=True))
    table = relation_table(facts, labels, rule)
    drawn = sorted(
        (
            fact
            for fact in facts
            if fact.id in category and table[fact.relation]["kept"] and (rule.given_away or not given_away(fact))
        ),
        key=lambda fact: hashlib.sha256(f"{rule.seed}/{fact.id}".encode()).digest(),
    )
    wanted = {
        Split.KNOWN: ({"train"}, Category.HIGHLY_KNOWN),
        Split.UNKNOWN: ({"train"}, Category.UNKNOWN),
        Split.HELD_VAL: (HELD_FROM[rule.held_from], Category.HIGHLY_KNOWN),
        Split.HELD: (HELD_FROM[rule.held_from], Category.HIGHLY_KNOWN),
    }
    used: dict[str, Split] = {}
    splits: dict[Split, tuple[Fact, ...]] = {}
    for name, (origins, wants) in wanted.items():
        chosen: list[Fact] = []
        for fact in drawn:
            if len(chosen) == sizes[name]:
                break
            if fact.origin in origins and category[fact.id] == wants:
                subject = normalise(fact.subject)
                if used.setdefault(subject, name) is name:
                    chosen.append(fact)
        if len(chosen) < sizes[name]:
            kept = ", ".join(relation for relation, row in table.items() if row["kept"]) or "none"
            raise FthallError(
                f"only {len(chosen)} facts for the split '{name}', {sizes[name]} asked; label more facts, ask for "
                f"fewer, or lower the {100 * rule.min_highly_known:g} % rule (kept relations: {kept})"
            )
        splits[name] = tuple(chosen)
    return splits


def build(
    folder: Path,
    *,
    track: str,
    facts: Sequence[Fact],
    labels: pd.DataFrame,
    sizes: Mapping[Split, int],
    source: Mapping[str, Any],
    base: Mapping[str, Any],
    slick: Mapping[str, Any],
    rule: Rule | None = None,
    texts: bool = True,
) -> Release:
    """Draw the splits and write the release folder.

    ``labels`` has the columns ``fact_id, relation, category, right`` of :func:`fthall.knowledge.slick.label`. Without
    ``texts`` the facts are stored by their ids alone, and a hash of what they say.

    Raises:
        FthallError: the folder holds a release already (they are immutable), or a split comes out too small.
    """
    if (folder / "release.yaml").exists():
        raise FthallError(f"{folder} holds a release already and releases never change; choose another folder")
    rule = rule or Rule()
    splits = split(facts, labels, sizes, rule)
    listed, suffix = _names(texts)
    files: dict[str, Any] = {}
    for name, chosen in splits.items():
        path = folder / f"{name}.{suffix}"
        if texts:
            write_jsonl(path, map(_row, chosen))
        else:
            write_text(path, "".join(f"{fact.id}\n" for fact in chosen))
        files[path.name] = {
            "facts": len(chosen),
            "relations": dict(sorted(Counter(fact.relation for fact in chosen).items())),
            "sha256": sha256(path),
            **({} if texts else {"texts_sha256": _texts(chosen)}),
        }
    with atomic(folder / listed) as temporary:
        content = _ledger(labels).to_csv(index=False, lineterminator="\n").encode()
        temporary.write_bytes(content if texts else gzip.compress(content, mtime=0))
    files[listed] = {"facts": len(labels), "sha256": sha256(folder / listed)}
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "track": track,
        "source": dict(source),
        "base": dict(base),
        "slick": dict(slick),
        "rule": rule.manifest(),
        "relations": relation_table(facts, labels, rule),
        "files": files,
    }
    manifest["digest"] = _digest(manifest)
    write_text(folder / "release.yaml", yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120))
    return load(str(folder))


def manifest(track: str) -> Mapping[str, Any]:
    """The manifest of a release, by the name of its track, or by the path of its folder.

    Raises:
        FthallError: unknown track, unreadable or altered manifest.
    """
    folder = _folder(track)
    absent = f"unknown track {track!r}; known tracks: {', '.join(tracks()) or 'none'}; or give a release's folder"
    found = read_yaml(folder / "release.yaml", absent)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise FthallError(f"{folder}/release.yaml is no release of schema {SCHEMA}; update fthall, or fetch it again")
    try:
        intact = found.get("digest") == _digest(found)
    except (TypeError, ValueError):  # YAML has values that JSON has not: no manifest of ours
        intact = False
    if not intact:
        raise FthallError(f"{folder}/release.yaml was altered (its digest does not match); fetch the release again")
    return found


def verify(track: str) -> Mapping[str, Any]:
    """Check the hash of every file of a release, and return its manifest.

    Raises:
        FthallError: unknown track, unreadable release, or one whose bytes differ from what its manifest says.
    """
    folder, found = _folder(track), manifest(track)
    listed, suffix = _names(_ships_texts(found))
    for name in (listed, *(f"{split}.{suffix}" for split in Split)):
        entry = found["files"].get(name)
        if entry is None:
            raise FthallError(f"{folder}/release.yaml has no entry for {name}; fetch the release again")
        path = folder / name
        if not path.is_file():
            raise FthallError(f"{path} is missing; fetch the release again")
        if sha256(path) != entry["sha256"]:
            raise FthallError(f"{path} was altered (its sha256 is not the manifest's); fetch the release again")
    return found


def load(track: str) -> Release:
    """Load and verify a release by the name of its track, or by the path of its folder.

    Raises:
        FthallError: unknown track, unreadable or altered release, or its facts are not here (it says how to get them).
    """
    found, folder = verify(track), _folder(track)
    if _ships_texts(found):
        splits = {name: tuple(map(_fact, read_jsonl(folder / f"{name}.jsonl"))) for name in Split}
    else:
        splits = _from_source(folder, found)
    return Release(track=found["track"], digest=found["digest"], manifest=found, splits=splits)


def absent(track: str) -> str | None:
    """Why the facts of a release cannot be read here, and how to get them; None where they can.

    Raises:
        FthallError: unknown track, unreadable or altered manifest.
    """
    found = manifest(track)
    if _ships_texts(found):
        return None
    try:
        sources.load(str(found["source"]["name"]), [])
    except FthallError as error:
        return str(error)
    return None


def sizes(manifest: Mapping[str, Any]) -> dict[Split, int]:
    """Facts in each split."""
    _, suffix = _names(_ships_texts(manifest))
    return {split: int(manifest["files"][f"{split}.{suffix}"]["facts"]) for split in Split}


def ledger(track: str) -> pd.DataFrame:
    """Every labelled fact of a release: ``fact_id``, ``category``, ``right`` and ``asked``.

    Raises:
        FthallError: unknown track, unreadable or altered manifest.
    """
    name, _ = _names(_ships_texts(manifest(track)))
    return pd.read_csv(_folder(track) / name, keep_default_na=False)


def _folder(track: str) -> Path:
    return releases_dir() / track if track in _shipped() else Path(track)


def _names(texts: bool) -> tuple[str, str]:
    """Of the file of categories, and how those of the splits end: with the facts' texts, or with ids alone."""
    return ("labels.csv", "jsonl") if texts else ("labels.csv.gz", "txt")


def _ships_texts(manifest: Mapping[str, Any]) -> bool:
    return "labels.csv.gz" not in manifest["files"]


def _from_source(folder: Path, manifest: Mapping[str, Any]) -> dict[Split, tuple[Fact, ...]]:
    """The facts of a release that stores ids.

    Raises:
        FthallError: the source is not here, or has other facts.
    """
    kept = [relation for relation, row in manifest["relations"].items() if row["kept"]]
    source = str(manifest["source"]["name"])
    by_id = {fact.id: fact for fact in sources.load(source, kept)}
    splits = {}
    for name in Split:
        ids = (folder / f"{name}.txt").read_text(encoding="utf-8").split()
        chosen = tuple(by_id[one] for one in ids if one in by_id)
        if len(chosen) < len(ids) or _texts(chosen) != manifest["files"][f"{name}.txt"]["texts_sha256"]:
            raise FthallError(f"{folder}: {source} has other facts here than when the release was made; fetch it again")
        splits[name] = chosen
    return splits


def labels_of(track: str) -> tuple[list[Fact], pd.DataFrame]:
    """The facts a release was drawn from, and their labels as :func:`build` takes them.

    Raises:
        FthallError: the source is not here, or lacks facts that were labelled.
    """
    found, labels = manifest(track), ledger(track)
    source = str(found["source"]["name"])
    facts = sources.load(source, list(found["relations"]))
    relation = {fact.id: fact.relation for fact in facts}
    if unknown := sorted(set(labels["fact_id"]) - relation.keys()):
        raise FthallError(f"{_folder(track)}: {source} has no fact {unknown[0]!r}; the release was made of others")
    labels["relation"] = [relation[fact_id] for fact_id in labels["fact_id"]]
    if "asked" not in labels:  # the first release did not say: all were asked in every run
        labels["asked"] = int(found["slick"]["runs"])
    counts = zip(labels["right"], labels["asked"], strict=True)
    labels["right"] = [[True] * right + [False] * (asked - right) for right, asked in counts]
    return facts, labels.drop(columns="asked")


def rebuilt(release: Release, track: str) -> bool:
    """Whether the labels, by the rule and from the source as it is here, give these very splits and counts.

    Args:
        release: as loaded.
        track: by which it was loaded.

    Raises:
        FthallError: the source is not here, or lacks facts that were labelled.
    """
    facts, labels = labels_of(track)
    try:
        rule = Rule(**release.manifest["rule"])
    except TypeError:
        raise FthallError(
            f"{_folder(track)}: its rule is none that this version of fthall knows; update fthall"
        ) from None
    again = split(facts, labels, sizes(release.manifest), rule)
    return again == dict(release.splits) and relation_table(facts, labels, rule) == release.manifest["relations"]


def _ledger(labels: pd.DataFrame) -> pd.DataFrame:
    """Category, right answers and questions asked of every labelled fact."""
    counts = pd.DataFrame(map(tally, labels["right"]), columns=["right", "asked"], index=labels.index)
    return labels[["fact_id", "category"]].join(counts)


def _texts(facts: Sequence[Fact]) -> str:
    """SHA-256 of what facts say, in this order."""
    lines = (json.dumps(_row(fact), ensure_ascii=False, separators=(",", ":")) + "\n" for fact in facts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _row(fact: Fact) -> dict[str, Any]:
    return asdict(fact)


def _fact(row: Mapping[str, Any]) -> Fact:
    return Fact(**{**row, "answers": tuple(row["answers"])})


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest, its own digest left out; the files' hashes in it pin their bytes too."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
