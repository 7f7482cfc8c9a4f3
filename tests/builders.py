"""Small releases and submissions for the tests: 16 hand-made facts, no model."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from fthall.answers import judge
from fthall.files import write_json, write_jsonl, write_text
from fthall.knowledge import splits
from fthall.records import Category, EpochPoint, Fact, Outcome, Release, Split

TRACK = "geonames/tiny"
BASE_SHA = "ab" * 32
EXEMPLAR = "Q: In which country is the city of Riga?\nA: Latvia\n\n"
CITIES = (
    "Oslo",
    "Bo",
    "Ulaanbaatar the Great",
    "Zürich",
    "Minsk",
    "X",
    "San José",
    "Łódź",
    "A",
    "New York City",
    "Rome",
)
PROMPTS = [f"{EXEMPLAR}Q: In which country is the city of {city}?\nA:" for city in CITIES]
"""A few that begin alike."""
SIZES = {Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 4, Split.HELD_VAL: 2}


def fact(key: str, *, relation: str = "country_of_city", origin: str = "train", answer: str | None = None) -> Fact:
    """One made-up fact: subject ``Town <key>``, answer ``Land <key>`` and an alias."""
    return Fact(
        id=f"tiny/{relation}/{key}",
        relation=relation,
        subject=f"Town {key}",
        question=f"In which country is the city of Town {key}?",
        answers=(answer or f"Land {key}", f"Republic of {key}"),
        origin=origin,
    )


def tiny_facts() -> list[Fact]:
    """Sixteen facts of one relation: train k1-k4 and u1-u4, dev h1-h8."""
    train = [fact(f"{kind}{n}") for kind in "ku" for n in range(1, 5)]
    return train + [fact(f"h{n}", origin="dev") for n in range(1, 9)]


def labels_of(facts: Sequence[Fact], category: Mapping[str, Category]) -> pd.DataFrame:
    """A labels table as :func:`fthall.knowledge.slick.label` returns it, with two runs."""
    bits = {Category.HIGHLY_KNOWN: [True, True], Category.MAYBE_KNOWN: [True, False], Category.UNKNOWN: [False, False]}
    rows = [(f.id, f.relation, str(category[f.id]), bits[category[f.id]]) for f in facts]
    return pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"])


def tiny_labels() -> pd.DataFrame:
    """Those facts' labels: ``u*`` Unknown, the others HighlyKnown."""
    facts = tiny_facts()
    unknown = {f.id for f in facts if "/u" in f.id}
    return labels_of(facts, {f.id: Category.UNKNOWN if f.id in unknown else Category.HIGHLY_KNOWN for f in facts})


def tiny_release(tmp_path: Path, *, track: str = TRACK, texts: bool = True, base_sha: str = BASE_SHA) -> Release:
    """Build a release in ``tmp_path/release`` with 3 known, 3 unknown, 4 held and 2 held_val facts."""
    return splits.build(
        tmp_path / "release",
        track=track,
        facts=tiny_facts(),
        labels=tiny_labels(),
        sizes=SIZES,
        source={"name": track.split("/", maxsplit=1)[0], "license": "CC BY 4.0"},
        base={"name": "tiny", "weights_sha256": base_sha},
        slick={"preset": "custom", "runs": 2, "shots": 3, "seed": 0, "max_new_tokens": 16, "dtype": "float32"},
        texts=texts,
    )


def card_of(
    release: Release,
    *,
    entry: str,
    seed: int,
    trained_on: Sequence[Split | str],
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A valid card as plain data; ``changes`` replace or add fields."""
    return {
        "schema": 1,
        "track": release.track,
        "release": release.digest,
        "entry": entry,
        "title": entry.capitalize(),
        "method": "sft",
        "seed": seed,
        "trained_on": [str(split) for split in trained_on],
        "hyperparameters": {"learning_rate": 5e-5, "epochs": 3},
        "base_weights_sha256": release.manifest["base"]["weights_sha256"],
        "authors": ["Ada"],
        "contact": "ada@example.org",
        "hardware": "a laptop",
        "command": "fthall run recipe.yaml",
        "versions": {"fthall": "0.1.0", "lm_eval": "0.4.13"},
        "created": datetime.date(2026, 1, 2),
        **(changes or {}),
    }


def write_submission_folder(
    root: Path,
    release: Release,
    slug: str,
    *,
    entry: str,
    seed: int,
    trained_on: Sequence[Split | str],
    right: Mapping[Split, int],
    abstained: Mapping[Split, int] | None = None,
    trajectory: Sequence[Mapping[str, Any]] = (),
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``root/<track>/<slug>``: the first ``right`` facts of a split right, the next ``abstained`` silent.

    The rest is wrong. ``card`` replaces or adds fields of the card.
    """
    folder = root / release.track / slug
    fields = card_of(release, entry=entry, seed=seed, trained_on=trained_on, changes=card)
    write_text(folder / "submission.yaml", yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))
    counts = {}
    for split, facts in release.splits.items():
        correct, silent = right.get(split, 0), (abstained or {}).get(split, 0)
        said = [
            f.answers[0] if n < correct else "I don't know" if n < correct + silent else "Atlantis"
            for n, f in enumerate(facts)
        ]
        outcomes = [judge(text, f.answers) for text, f in zip(said, facts, strict=True)]
        counts[str(split)] = {str(outcome): outcomes.count(outcome) for outcome in Outcome}
        rows = [{"fact_id": f.id, "prediction": text} for f, text in zip(facts, said, strict=True)]
        write_jsonl(folder / "samples" / f"{split}.jsonl", rows)
    write_json(folder / "results.json", {"schema": 1, "counts": counts, "trajectory": list(trajectory)})
    return folder


class Killed(Exception):
    """A run ends here, as by ``kill -9``."""


def killed_after(epoch: int) -> Callable[[EpochPoint], None]:
    """An ``on_epoch`` that ends a training at the evaluation after some epoch, before that epoch is saved."""

    def kill(point: EpochPoint) -> None:
        if point.epoch == epoch:
            raise Killed

    return kill
