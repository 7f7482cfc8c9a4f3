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
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fthall import facts as sources
from fthall.errors import FthallError
from fthall.facts import synthetic
from fthall.files import atomic, read_jsonl, sha256, write_jsonl, write_text
from fthall.paths import data_dir
from fthall.records import Fact, Release, Split
from fthall.schema import read_yaml

if TYPE_CHECKING:  # tables are for those who draw splits; whoever reads them starts in a blink
    import pandas as pd

    from fthall.knowledge.draw import Rule

SCHEMA = 1
MADE_UP = "made_up"
"""In a manifest: of what set the unknown facts are, where they are none of the track's source."""

RETIRED = "@"
"""Between a base and the digest of a release that its track no longer has."""
_FACT = tuple(field.name for field in fields(Fact))


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


def check_free(folder: Path) -> None:
    """Refuse a folder for a new release that holds one.

    Raises:
        FthallError: it does.
    """
    if (folder / "release.yaml").exists():
        raise FthallError(f"{folder} holds a release already and releases never change; choose another folder")


def build(
    folder: Path,
    *,
    track: str,
    facts: Sequence[Fact],
    labels: "pd.DataFrame",
    sizes: Mapping[Split, int],
    source: Mapping[str, Any],
    base: Mapping[str, Any],
    slick: Mapping[str, Any],
    rule: "Rule | None" = None,
    texts: bool = True,
) -> Release:
    """Draw the splits and write the release folder.

    ``labels`` has the columns ``fact_id, relation, category, right`` of :func:`fthall.knowledge.slick.label`. Without
    ``texts`` the facts are stored by their ids alone, and a hash of what they say.

    Raises:
        FthallError: the folder holds a release already (they are immutable), or a split comes out too small.
    """
    from fthall.knowledge import draw

    check_free(folder)
    rule = rule or draw.Rule()
    splits = draw.split(facts, labels, sizes, rule)
    listed, suffix = _names(texts)
    files: dict[str, Any] = {}
    for name, chosen in splits.items():
        path = folder / f"{name}.{suffix}"
        if texts:
            write_jsonl(path, map(_row, chosen))
        else:
            write_text(path, "".join(f"{fact.id}\n" for fact in chosen))
        files[path.name] = _entry(path, chosen) | ({} if texts else {"texts_sha256": _texts(chosen)})
    with atomic(folder / listed) as temporary:
        content = _ledger(labels).to_csv(index=False, lineterminator="\n").encode()
        temporary.write_bytes(content if texts else gzip.compress(content, mtime=0))
    files[listed] = {"facts": len(labels), "sha256": sha256(folder / listed)}
    made = {
        "schema": SCHEMA,
        "track": track,
        "source": dict(source),
        "base": dict(base),
        "slick": dict(slick),
        "rule": rule.manifest(),
        "relations": draw.relation_table(facts, labels, rule),
        "files": files,
    }
    return _finished(folder, made)


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
    listed, _ = _names(_ships_texts(found))
    for name in (listed, *(_file(found, split) for split in Split)):
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
    listed = {split: folder / _file(found, split) for split in Split}
    splits = {split: tuple(map(_fact, read_jsonl(path))) for split, path in listed.items() if path.suffix == ".jsonl"}
    if not _ships_texts(found):
        splits |= _from_source(found, {split: path for split, path in listed.items() if path.suffix == ".txt"})
        splits = {split: splits[split] for split in Split}
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
    return {split: int(manifest["files"][_file(manifest, split)]["facts"]) for split in Split}


def ledger(track: str) -> "pd.DataFrame":
    """Every labelled fact of a release: ``fact_id``, ``category``, ``right`` and ``asked``.

    Raises:
        FthallError: unknown track, unreadable or altered manifest.
    """
    import pandas as pd

    name, _ = _names(_ships_texts(manifest(track)))
    return pd.read_csv(_folder(track) / name, keep_default_na=False)


def _folder(track: str) -> Path:
    return releases_dir() / track if track in _shipped() else Path(track)


def _names(texts: bool) -> tuple[str, str]:
    """Of the file of categories, and how those of the splits end: with the facts' texts, or with ids alone."""
    return ("labels.csv", "jsonl") if texts else ("labels.csv.gz", "txt")


def _ships_texts(manifest: Mapping[str, Any]) -> bool:
    return "labels.csv.gz" not in manifest["files"]


def _file(manifest: Mapping[str, Any], split: Split) -> str:
    """The file of a split. Made-up facts stand in it whatever the track's own do."""
    _, suffix = _names(_ships_texts(manifest))
    return f"{split}.jsonl" if split is Split.UNKNOWN and MADE_UP in manifest else f"{split}.{suffix}"


def _from_source(manifest: Mapping[str, Any], listed: Mapping[Split, Path]) -> dict[Split, tuple[Fact, ...]]:
    """The facts of splits that are stored as ids.

    Raises:
        FthallError: the source is not here, or has other facts.
    """
    kept = [relation for relation, row in manifest["relations"].items() if row["kept"]]
    source = str(manifest["source"]["name"])
    by_id = {fact.id: fact for fact in sources.load(source, kept)}
    splits = {}
    for name, path in listed.items():
        ids = path.read_text(encoding="utf-8").split()
        chosen = tuple(by_id[one] for one in ids if one in by_id)
        if len(chosen) < len(ids) or _texts(chosen) != manifest["files"][path.name]["texts_sha256"]:
            raise FthallError(
                f"{path.parent}: {source} has other facts here than when the release was made; fetch it again"
            )
        splits[name] = chosen
    return splits


def labels_of(track: str) -> "tuple[list[Fact], pd.DataFrame]":
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
    from fthall.knowledge import draw

    facts, labels = labels_of(track)
    try:
        rule = draw.Rule(**release.manifest["rule"])
    except TypeError:
        raise FthallError(
            f"{_folder(track)}: its rule is none that this version of fthall knows; update fthall"
        ) from None
    made, counts = release.manifest.get(MADE_UP), sizes(release.manifest)
    again = draw.split(facts, labels, counts | ({Split.UNKNOWN: int(made["instead_of"])} if made else {}), rule)
    if made:
        near = tuple(fact.subject for fact in again[Split.HELD])
        again[Split.UNKNOWN] = tuple(synthetic.generate(synthetic.spec(made["set"], near)))
    return again == dict(release.splits) and draw.relation_table(facts, labels, rule) == release.manifest["relations"]


def with_made_up(folder: Path, track: str, spec: synthetic.Spec, *, name: str, found: Mapping[str, Any]) -> Release:
    """Write a release with made-up facts in the place of the unknown ones; known and held-out facts stay as they are.

    Args:
        folder: of the new release.
        track: whose known and held-out facts these are, or its release's folder.
        spec: of the made-up facts.
        name: of the new track.
        found: what was found out about such facts.

    Raises:
        FthallError: the folder holds a release already, or the track has made-up facts itself.
    """
    check_free(folder)
    old = verify(track)
    if MADE_UP in old:
        raise FthallError(f"the unknown facts of {track} are made up already; give the track they were put into")
    files = dict(old["files"])
    took = _file(old, Split.UNKNOWN)
    instead_of = files.pop(took)["facts"]
    for kept in files:
        with atomic(folder / kept) as temporary:
            temporary.write_bytes((_folder(track) / kept).read_bytes())
    facts, path = list(synthetic.generate(spec)), folder / f"{Split.UNKNOWN}.jsonl"
    write_jsonl(path, map(_row, facts))
    files[path.name] = _entry(path, facts)
    made = {"set": spec.manifest(), "instead_of": instead_of, **found}
    return _finished(folder, {**old, "track": name, MADE_UP: made, "files": files})


def _entry(path: Path, facts: Sequence[Fact]) -> dict[str, Any]:
    """What a manifest says of the file of a split."""
    relations = dict(sorted(Counter(fact.relation for fact in facts).items()))
    return {"facts": len(facts), "relations": relations, "sha256": sha256(path)}


def _finished(folder: Path, said: Mapping[str, Any]) -> Release:
    """Write the manifest with its digest, last: the folder is a release now."""
    manifest = {key: value for key, value in said.items() if key != "digest"}
    manifest["digest"] = _digest(manifest)
    write_text(folder / "release.yaml", yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120))
    return load(str(folder))


def _ledger(labels: "pd.DataFrame") -> "pd.DataFrame":
    """Category, right answers and questions asked of every labelled fact."""
    import pandas as pd

    from fthall.knowledge.slick import tally

    counts = pd.DataFrame(map(tally, labels["right"]), columns=["right", "asked"], index=labels.index)
    return labels[["fact_id", "category"]].join(counts)


def _texts(facts: Sequence[Fact]) -> str:
    """SHA-256 of what facts say, in this order."""
    lines = (json.dumps(_row(fact), ensure_ascii=False, separators=(",", ":")) + "\n" for fact in facts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _row(fact: Fact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in _FACT}  # asdict copies all of it, which takes ten times as long


def _fact(row: Mapping[str, Any]) -> Fact:
    return Fact(**{**row, "answers": tuple(row["answers"])})


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest, its own digest left out; the files' hashes in it pin their bytes too."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
