"""Does the 95 % interval hold the truth 95 times in 100? Simulated on clustered data.

    python benchmark/studies/interval_coverage.py --out leaderboard/studies/interval-coverage.json

Each of many simulated studies has subjects with one or more facts of a few relations. With probability ``together`` all
facts of a subject share one fate, otherwise each has its own: ``lost`` of them are right in the reference alone,
``gained`` in the model alone. The interval of forgetting is the one fthall publishes (:mod:`fthall.measure.stats`).
"""

import numpy as np

import study
from fthall.bases import hardware
from fthall.measure import stats

SCENES = {
    "this track: 380 subjects of one fact, 11 points": (380, 1, 0.0, 0.12, 0.01),
    "this track, almost nothing lost": (380, 1, 0.0, 0.01, 0.002),
    "held_val: 150 subjects, 12 points": (150, 1, 0.0, 0.13, 0.01),
    "1 to 3 facts a subject, half of them together": (300, 3, 0.5, 0.15, 0.02),
    "1 to 3 facts a subject, no difference": (300, 3, 0.5, 0.04, 0.04),
    "1 to 5 facts a subject, all together": (400, 5, 1.0, 0.15, 0.02),
    "2,000 subjects of 1 to 3 facts": (2000, 3, 0.5, 0.15, 0.02),
}
RELATIONS = 4


def simulate(
    subjects: int, most: int, together: float, lost: float, gained: float, *, studies: int, seed: int
) -> dict[str, float]:
    """Share of studies whose interval holds the truth, percent, and its mean width, points."""
    rng = np.random.default_rng(seed)
    fates, chances = np.array([1, -1, 0]), [lost, gained, 1 - lost - gained]
    hit, width = 0, 0.0
    for number in range(studies):
        facts = rng.integers(1, most + 1, subjects)
        of_item = np.repeat(np.arange(subjects), facts)
        shared = np.repeat(rng.random(subjects) < together, facts)
        common = np.repeat(rng.choice(fates, subjects, p=chances), facts)
        values = np.where(shared, common, rng.choice(fates, len(of_item), p=chances))
        drawn = stats.resample(of_item.tolist(), [str(s % RELATIONS) for s in of_item], count=1000, seed=number)
        low, high = map(float, drawn.interval(values, extremes=(-1.0, 1.0)))
        hit += low <= lost - gained <= high
        width += high - low
    return {"coverage": 100 * hit / studies, "width": 100 * width / studies}


def main() -> None:
    """Run all scenes and print them."""
    parser = study.parser(__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {
        name: simulate(*scene, studies=options.studies, seed=options.seed)  # type: ignore[arg-type]
        for name, scene in SCENES.items()
    }
    result = {"studies": options.studies, "seed": options.seed, "machine": hardware(), "scenes": found}
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
