"""The command behind ``fthall release build``: labels of a source and a base in, a release folder out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from fthall import facts as sources
from fthall.errors import FthallError
from fthall.facts import synthetic
from fthall.files import write_text
from fthall.knowledge import draw, slick, splits
from fthall.names import nearest, spread, trigrams
from fthall.records import Category, Release, Split

_ALIKE = (
    *("weights_sha256", "special_tokens", "base", "dtype", "engine"),
    *("preset", "runs", "shots", "seed", "max_new_tokens", "adaptive"),
)
_LABELS = pa.DataFrameSchema(
    {
        "fact_id": pa.Column(str, unique=True),
        "relation": pa.Column(str),
        "category": pa.Column(str, pa.Check.isin([str(category) for category in Category])),
        "right": pa.Column(object),
    }
)
_SAMPLE = 1000
"""Made-up names that are compared with held-out ones."""
_ALIKE_SAMPLES = ("samples", "temperature", "top_k", "exact")


def build_from_labels(
    labels: Sequence[Path],
    out: Path,
    *,
    source: str,
    base: str | None,
    sizes: tuple[int, int, int, int],
    rule: draw.Rule,
) -> Release:
    """Read labels and write the release of the track ``<source>/<base>``, with its data card.

    Args:
        labels: one file, or several with different facts, made alike.
        out: the release's folder.
        source: of the facts.
        base: its name in the track; by default the last part of what the labels call it, in small letters.
        sizes: of known, unknown, held, held_val.
        rule: by what the splits are drawn.

    Raises:
        FthallError: labels are unreadable, differ in how they were made, or are of other facts than the source now has.
    """
    read = read_alike(labels)
    made = read[0][1]
    table = pd.concat([rows for rows, _ in read], ignore_index=True)
    about, facts = sources.about(source), sources.load(source, sorted(set(table["relation"])))
    for path, (rows, own) in zip(labels, read, strict=True):
        ids = set(rows["fact_id"])
        found = [fact for fact in facts if fact.id in ids]  # in the order they were asked
        if len(found) < len(rows) or slick.digest(found) != own["facts"]:
            raise FthallError(f"{path} was made of other facts than {source} has now; make it anew with fthall slick")
    # As one file would have them, whichever way they are parted and named.
    place = {fact.id: number for number, fact in enumerate(facts)}
    table = table.iloc[sorted(range(len(table)), key=lambda i: (table["relation"][i], place[table["fact_id"][i]]))]
    ids = set(table["fact_id"])
    labelled = [fact for fact in facts if fact.id in ids]
    asked = {name: made[name] for name in ("engine", "adaptive", *_ALIKE_SAMPLES) if name in made}
    known_size, unknown, held, held_val = sizes
    name = base or str(made["base"]).rstrip("/").split("/")[-1].lower().removesuffix(".gguf")
    release = splits.build(
        out,
        track=f"{source}/{name}",
        facts=facts,
        labels=table,
        sizes={Split.KNOWN: known_size, Split.UNKNOWN: unknown, Split.HELD: held, Split.HELD_VAL: held_val},
        source={"name": source, **about.manifest(), "facts_sha256": slick.digest(labelled)},
        base={"name": name, **{key: made[key] for key in ("weights_sha256", "special_tokens") if key in made}},
        slick={
            "preset": made["preset"],
            **{key: int(made[key]) for key in ("runs", "shots", "seed", "max_new_tokens")},
            "dtype": made["dtype"],
            **asked,
        },
        rule=rule,
        texts=about.shipped,
    )
    write_text(out / "README.md", card(release))
    return release


def renew(track: str, out: Path, *, sizes: tuple[int, int, int, int], rule: draw.Rule) -> Release:
    """Draw another release of a track from the labels of the one it has, and write it, with its data card.

    Args:
        track: its name, or a release's folder.
        out: the new release's folder.
        sizes: of known, unknown, held, held_val.
        rule: by what the splits are drawn.

    Raises:
        FthallError: unknown track, its facts are not here, or there are too few for a split.
    """
    old = splits.manifest(track)
    facts, table = splits.labels_of(track)
    known, unknown, held, held_val = sizes
    release = splits.build(
        out,
        track=old["track"],
        facts=facts,
        labels=table,
        sizes={Split.KNOWN: known, Split.UNKNOWN: unknown, Split.HELD: held, Split.HELD_VAL: held_val},
        source=old["source"],
        base=old["base"],
        slick=old["slick"],
        rule=rule,
        texts=sources.about(str(old["source"]["name"])).shipped,
    )
    write_text(out / "README.md", card(release))
    return release


def make_up(track: str, out: Path, spec: synthetic.Spec, *, name: str, asked: Mapping[str, int]) -> Release:
    """Write a release with made-up facts in the place of a track's unknown ones, with its data card.

    Args:
        track: its name, or a release's folder.
        out: the new release's folder.
        spec: of the made-up facts.
        name: of the new track.
        asked: of a sample of such facts, how many the base has in which category; empty if it was not asked.

    Raises:
        FthallError: the folder holds a release already, or the track has made-up facts itself.
    """
    held = splits.load(track).splits[Split.HELD]
    sample = [fact.subject for fact in synthetic.generate(spec.first(min(spec.size, _SAMPLE)))]
    alike = nearest(list(map(trigrams, sample)), [trigrams(fact.subject) for fact in held])
    found = {"nearest_held_trigrams": spread(alike), **({"asked": dict(asked)} if asked else {})}
    release = splits.with_made_up(out, track, spec, name=name, found=found)
    write_text(out / "README.md", card(release))
    return release


def read_alike(labels: Sequence[Path]) -> list[tuple[pd.DataFrame, dict[str, str]]]:
    """Labels files of different facts (of other relations, or shards), and what each was made with.

    Raises:
        FthallError: one is unreadable, they were not made alike, or a fact is labelled twice.
    """
    read = [read_labels(path) for path in labels]
    made, seen = read[0][1], set[str]()
    for path, (rows, other) in zip(labels, read, strict=True):
        for key in (*_ALIKE, *_ALIKE_SAMPLES):
            if other.get(key) != made.get(key):
                raise FthallError(
                    f"{path} was made with {key} {other.get(key)}, {labels[0]} with {made.get(key)}; "
                    "only labels that were made alike go together"
                )
        if twice := seen.intersection(rows["fact_id"]):
            raise FthallError(f"{path}: the fact {min(twice)!r} is labelled twice; give each labels file once")
        seen.update(rows["fact_id"])
    return read


def read_labels(labels: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A labels file, and what it was made with.

    Raises:
        FthallError: there is none, or it is none of ours.
    """
    try:
        table = _LABELS.validate(pd.read_parquet(labels))
        made = slick.made_with(labels)
    except FileNotFoundError:
        raise FthallError(f"no labels file {labels}; make one with: fthall slick --out {labels}") from None
    except pa.errors.SchemaError as error:
        raise FthallError(
            f"{labels} is no labels file of fthall ({str(error).splitlines()[0][:200]}); make one with fthall slick"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise FthallError(
            f"{labels} is no labels file of fthall ({type(error).__name__}); make one with fthall slick"
        ) from None
    needed = {"facts", "base", "weights_sha256", "preset", "dtype", "runs", "shots", "seed", "max_new_tokens"}
    if missing := sorted(needed - made.keys()):
        raise FthallError(f"{labels} does not say its {missing[0]}; make it anew with fthall slick")
    return table, made


def card(release: Release) -> str:
    """The data card of a release, as Markdown: all of it from the manifest."""
    manifest = release.manifest
    source, base, asked, rule = (manifest[name] for name in ("source", "base", "slick", "rule"))
    files = {Path(name).stem: entry for name, entry in manifest["files"].items()}
    copied = not rule.get("given_away", True)  # whether facts are left out that may be
    rows = []
    for relation, row in manifest["relations"].items():
        cells = [f"`{relation}`", row["asked"], *(row[str(c)] for c in Category)]
        cells += [f"{100 * row['highly_known_share']:.1f} %", *([row["given_away"]] if copied else [])]
        rows.append(f"| {' | '.join(map(str, cells))} | {'yes' if row['kept'] else 'no'} |")
    drawn = [
        f"| `{split}` | {files[split]['facts']} | "
        f"{', '.join(f'{relation} {count}' for relation, count in files[split]['relations'].items())} |"
        for split in map(str, Split)
    ]
    how = [f"preset `{asked['preset']}`: {asked['runs']} contexts of {asked['shots']} exemplars, seed {asked['seed']}"]
    how += [f"at most {asked['max_new_tokens']} tokens, {asked['dtype']}"]
    if asked.get("adaptive") == "True":
        how.append("asked no more once the category was settled, so how often a MaybeKnown fact is right is not known")
    if "samples" in asked:
        chance = asked.get("exact") == "True"
        how.append(f"{asked['samples']} samples a context{' by their exact chance' if chance else ''}")
    else:
        how.append("no samples: WeaklyKnown is not told from Unknown")
    held = "dev" if rule.get("held_from", "dev") == "dev" else "what is left of train and dev"
    left_out = (
        "\n- Left out: facts whose answer stands in the subject’s name, which may be known by copying alone; the\n"
        "  table says how many of the HighlyKnown are, and the share is of the others."
        if copied
        else ""
    )
    by_ids = "labels.csv.gz" in manifest["files"]
    texts = " Only ids and categories are stored here; the facts are theirs." if by_ids else ""
    made = manifest.get(splits.MADE_UP)
    made_up = f"\n{_made_up(made)}" if made else ""
    return f"""# {release.track}

What {base["name"]} (weights {_weights(base)}) knows of {source["name"]}. Release {release.digest[:12]}.

- Facts: {source.get("attribution", source["name"])}; {source.get("license", "license not stated")}.{texts}
- Labels: {"; ".join(how)}.
- Rule: relations with at least {100 * rule["min_highly_known"]:g} % HighlyKnown facts; seed {rule["seed"]}; no
  subject in two splits; `known` and `unknown` from train, `held` and `held_val` from {held}.{left_out}{made_up}

| relation | asked | {" | ".join(Category)} | HighlyKnown, share | {"given away | " if copied else ""}kept |
|---|{"---:|" * (len(Category) + 2 + copied)}---|
{chr(10).join(rows)}

| split | facts | of relations |
|---|---:|---|
{chr(10).join(drawn)}

`fthall release check {release.track}` verifies every hash and, where the facts are at hand, draws the splits again.
"""


def _weights(base: Mapping[str, str]) -> str:
    """Which they are, and the special tokens before every text, where there are any."""
    begun = f", asked with {base['special_tokens']} before every text" if base.get("special_tokens") else ""
    return f"{base['weights_sha256'][:12]}{begun}"


def _made_up(made: Mapping[str, Any]) -> str:
    """What a data card says of made-up facts."""
    of, alike = made["set"], made["nearest_held_trigrams"]
    asked = made.get("asked")
    known = ", ".join(f"{number} {category}" for category, number in asked.items()) if asked else ""
    chance = synthetic.chance(of["values"])
    return (
        f"- Unknown facts: {of['size']} made up, in the place of {made['instead_of']} real ones; "
        f"{of['keys']}-like keys, values {of['values']}, seed {of['seed']}"
        + (f", {100 * of['closeness']:g} % of the names half a held-out one's" if of["closeness"] else "")
        + f".\n  Character trigrams shared with the held-out name nearest to each: median {alike['p50']:.2f}, "
        f"from {alike['p10']:.2f} to {alike['p90']:.2f} for eight of ten."
        + (f"\n  Of {sum(asked.values())} such facts the base has {known}." if asked else "")
        + (f" Guessing gives {chance:.2g} %." if chance else "")
    )
