"""How close made-up names are to those held out, as the dial is turned.

    python benchmark/studies/closeness.py --out leaderboard/studies/closeness.json

Character trigrams, and subword tokens of the embedded base, shared with the nearest held-out name of the embedded
track, for 1,000 names.
"""

import study
from fthall import bases
from fthall.facts.synthetic import Spec, generate
from fthall.knowledge import splits
from fthall.names import nearest, pieces, spread, trigrams
from fthall.records import Split

TRACK, BASE, NAMES, DIAL = "geonames/smollm2-135m", "smollm2-135m", 1000, (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Make names, compare."""
    given = study.parser(__doc__).parse_args()
    near = tuple(fact.subject for fact in splits.load(TRACK).splits[Split.HELD])
    tokenizer = bases.load_tokenizer(bases.find(BASE))
    rows = []
    for closeness in DIAL:
        spec = Spec(size=NAMES, closeness=closeness, near=near if closeness else ())
        names = [fact.subject for fact in generate(spec)]
        by_token = (list(pieces(tokenizer, of).values()) for of in (names, near))
        rows.append(
            {
                "closeness": closeness,
                "trigrams": spread(nearest(list(map(trigrams, names)), list(map(trigrams, near)))),
                "tokens": spread(nearest(*by_token)),
            }
        )
    study.tell({"track": TRACK, "names": NAMES, "seed": "0", "rows": rows}, given.out)


if __name__ == "__main__":
    main()
