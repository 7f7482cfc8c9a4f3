"""How many questions does an adaptive build ask, and how few could anybody ask?

    python benchmark/studies/adaptive.py P17.parquet P36.parquet

From labels made with ``fthall slick --adaptive``. Whoever wants the same HighlyKnown and Unknown facts must ask those
in every context, and any other fact at least twice: once right, once wrong. That is the bound.
"""

from pathlib import Path

import study
from fthall import releases
from fthall.records import Category
from fthall.slick import tally


def main() -> None:
    """Count and print."""
    parser = study.parser(__doc__)
    parser.add_argument("labels", type=Path, nargs="+")
    options = parser.parse_args()
    found = {}
    for path in options.labels:
        table, _ = releases.read_labels(path)
        for relation, rows in table.groupby("relation"):
            runs = len(rows["right"].iloc[0])
            asked = sum(tally(bits)[1] for bits in rows["right"])
            mixed = int((rows["category"] == Category.MAYBE_KNOWN).sum())
            least = (len(rows) - mixed) * runs + 2 * mixed
            found[str(relation)] = {
                "facts": len(rows),
                **{str(c): int((rows["category"] == c).sum()) for c in (Category.HIGHLY_KNOWN, Category.UNKNOWN)},
                "questions": len(rows) * runs,
                "asked": asked,
                "fewer": round(len(rows) * runs / asked, 2),
                "bound": round(len(rows) * runs / least, 2),
            }
    study.tell(found, options.out)


if __name__ == "__main__":
    main()
