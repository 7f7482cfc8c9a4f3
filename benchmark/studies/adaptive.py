"""How many questions does an adaptive build ask, how few could anybody ask, and what is it that the model knows?

    python benchmark/studies/adaptive.py P17.parquet P36.parquet --out leaderboard/studies/adaptive.json

From labels made with ``fthall slick --adaptive``. Whoever wants the same HighlyKnown and Unknown facts must ask those
in every context, and any other fact at least twice: once right, once wrong. That is the bound. Of the HighlyKnown, it
counts those whose answer stands in the subject's name.
"""

from pathlib import Path

import study
from fthall import facts as sources
from fthall.knowledge import draw, releases
from fthall.knowledge.slick import tally
from fthall.records import Category


def main() -> None:
    """Count and print."""
    parser = study.parser(__doc__)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--source", default="entityquestions")
    options = parser.parse_args()
    found = {}
    for path in options.labels:
        table, _ = releases.read_labels(path)
        for relation, rows in sorted(table.groupby("relation")):
            known = set(rows["fact_id"][rows["category"] == Category.HIGHLY_KNOWN])
            runs = len(rows["right"].iloc[0])
            asked = sum(tally(bits)[1] for bits in rows["right"])
            mixed = int((rows["category"] == Category.MAYBE_KNOWN).sum())
            least = (len(rows) - mixed) * runs + 2 * mixed
            found[str(relation)] = {
                "facts": len(rows),
                **{str(c): int((rows["category"] == c).sum()) for c in (Category.HIGHLY_KNOWN, Category.UNKNOWN)},
                "given_away": sum(
                    fact.id in known and draw.given_away(fact) for fact in sources.load(options.source, [relation])
                ),
                "questions": len(rows) * runs,
                "asked": asked,
                "fewer": round(len(rows) * runs / asked, 2),
                "bound": round(len(rows) * runs / least, 2),
            }
    study.tell(found, options.out)


if __name__ == "__main__":
    main()
