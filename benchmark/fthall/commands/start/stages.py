"""The stages of the demo: a release cut down from the shipped one, and a spot check of its labels.

They are those of the full benchmark; only the sizes differ, so the numbers are no leaderboard results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fthall import bases
from fthall import facts as sources
from fthall.engines import Engine
from fthall.files import read_json, write_json
from fthall.knowledge import draw, slick, splits
from fthall.records import Category, Fact, Release, Split

TRACK = "geonames/smollm2-135m"
DEMO_TRACK = "geonames-demo/smollm2-135m"


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much of the benchmark the demo runs."""

    known: int = 32
    unknown: int = 48
    held: int = 96
    held_val: int = 16
    spot_check: int = 3
    """Facts of each of HighlyKnown and Unknown that SLiCK asks again."""


def demo_release(folder: Path, size: DemoSize) -> Release:
    """A release with the shipped one's labels and fewer facts, in ``folder``; made once, then loaded."""
    if (folder / "release.yaml").exists():
        return splits.load(str(folder))
    shipped = splits.load(TRACK)
    facts = [fact for split in Split for fact in shipped.splits[split]]
    _, labels = splits.labels_of(TRACK)
    labels = labels[labels["fact_id"].isin({fact.id for fact in facts})]
    return splits.build(
        folder,
        track=DEMO_TRACK,
        facts=facts,
        labels=labels,
        sizes={
            Split.KNOWN: size.known,
            Split.UNKNOWN: size.unknown,
            Split.HELD: size.held,
            Split.HELD_VAL: size.held_val,
        },
        source=shipped.manifest["source"],
        base=shipped.manifest["base"],
        slick=shipped.manifest["slick"],
        rule=draw.Rule(min_highly_known=0.0),  # the shipped release has applied the rule; these facts are its survivors
    )


def spot_check(
    release: Release,
    engine: Engine,
    out: Path,
    size: DemoSize,
    *,
    identity: Mapping[str, str],
    on_answers: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """SLiCK, for real, on a few facts of the release: do their labels come out again?

    Writes and returns ``{"asked": …, "agree": …, "facts": [{"fact_id", "shipped", "again"}, …]}``.
    """
    if out.exists():
        found: dict[str, Any] = read_json(out)
        return found
    chosen: list[tuple[Fact, Category]] = [
        *((fact, Category.HIGHLY_KNOWN) for fact in release.splits[Split.KNOWN][: size.spot_check]),
        *((fact, Category.UNKNOWN) for fact in release.splits[Split.UNKNOWN][: size.spot_check]),
    ]
    config = slick.config_of(release)
    # The same exemplars as when the labels were made: all facts of origin dev.
    exemplars = [fact for fact in sources.load("geonames") if fact.origin == "dev"]
    table = slick.label(
        [fact for fact, _ in chosen],
        engine,
        config,
        out.with_suffix(".parquet"),
        identity=dict(identity),
        exemplars=exemplars,
        on_answers=on_answers,
    )
    again = dict(zip(table["fact_id"], table["category"], strict=True))
    rows = [{"fact_id": fact.id, "shipped": str(label), "again": again[fact.id]} for fact, label in chosen]
    report = {"asked": len(rows), "agree": sum(row["shipped"] == row["again"] for row in rows), "facts": rows}
    write_json(out, report)
    return report


def label_engine(*, batch_size: int = 96) -> tuple[Engine, dict[str, str]]:
    """The engine SLiCK uses for the embedded base, and the identity its partial files carry."""
    from fthall.engines.hf import HfEngine

    checkpoint = bases.find(bases.EMBEDDED)
    model, tokenizer = bases.load(checkpoint, dtype="bfloat16")
    identity = {"base": bases.EMBEDDED, "dtype": "bfloat16", "weights_sha256": bases.weights_sha256(checkpoint)}
    return HfEngine(model, tokenizer, batch_size=batch_size), identity
