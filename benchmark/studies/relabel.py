"""Do labels made again, on another machine or by a later engine, say the same as those of a release?

python benchmark/studies/relabel.py labels.parquet --out leaderboard/studies/relabel-geonames.json
"""

from collections import Counter
from pathlib import Path

import study
from fthall.bases import hardware
from fthall.knowledge import releases, splits


def main() -> None:
    """Compare and print."""
    parser = study.parser(__doc__)
    parser.add_argument("labels", type=Path, help="of the track's facts, from fthall slick")
    parser.add_argument("--track", default="geonames/smollm2-135m")
    options = parser.parse_args()
    shipped = splits.ledger(options.track).set_index("fact_id")["category"]
    table, _ = releases.read_labels(options.labels)
    again = table.set_index("fact_id")["category"].reindex(shipped.index)
    pairs = Counter(zip(shipped, again.fillna("not labelled"), strict=True))
    result = {
        "hardware": hardware(),
        "track": options.track,
        "facts": len(shipped),
        "same": sum(count for (one, other), count in pairs.items() if one == other),
        "moved": {f"{one} to {other}": n for (one, other), n in sorted(pairs.items()) if one != other},
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
