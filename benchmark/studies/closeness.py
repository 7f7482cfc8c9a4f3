"""How close made-up names are to those held out, as the dial is turned.

    python benchmark/studies/closeness.py --out leaderboard/studies/closeness.json

Trigrams shared with the nearest held-out name of the embedded track, for 1,000 names.
"""

import numpy as np

import study
from fthall.facts.synthetic import Spec, generate
from fthall.knowledge import splits
from fthall.names import nearest, trigrams
from fthall.records import Split

TRACK, NAMES, DIAL, OF = "geonames/smollm2-135m", 1000, (0.0, 0.25, 0.5, 0.75, 1.0), (10, 50, 90)


def main() -> None:
    """Make names, compare."""
    given = study.parser(__doc__).parse_args()
    near = tuple(fact.subject for fact in splits.load(TRACK).splits[Split.HELD])
    held = list(map(trigrams, near))
    rows = []
    for closeness in DIAL:
        spec = Spec(size=NAMES, closeness=closeness, near=near if closeness else ())
        alike = nearest([trigrams(fact.subject) for fact in generate(spec)], held)
        rows.append({"closeness": closeness, **{f"p{at}": round(float(np.percentile(alike, at)), 2) for at in OF}})
    study.tell({"track": TRACK, "names": NAMES, "seed": "0", "rows": rows}, given.out)


if __name__ == "__main__":
    main()
