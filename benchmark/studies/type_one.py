"""How often does a table of equal methods show a winner? Simulated under the null hypothesis.

    python benchmark/studies/type_one.py --out leaderboard/studies/type_one.json

All entries of a simulated table are the same method: every fact has its own chance of being right, the same for all;
every training adds luck of its own, and so does every answer. A table errs if any two entries get different ranks, or
if any entry differs significantly from the first, taken as the reference. Both must happen in at most 5 % of tables.
The last shape has one seed an entry, and luck: its exact tests are about checkpoints, and find what is true of those
and false of the method. That is why three seeds are asked for.
"""

import numpy as np

import study
from fthall.bases import hardware
from fthall.measure import stats


def table(rng: np.random.Generator, entries: int, seeds: int, facts: int, luck: float) -> tuple[bool, bool]:
    """One table under the null: whether the ranks err, and whether the tests against the reference do."""
    logit = rng.normal(2.0, 1.5, facts)
    training = rng.normal(0.0, luck, (entries, seeds, 1))
    right = rng.random((entries, seeds, facts)) < 1 / (1 + np.exp(-(logit + training)))
    drawn = stats.resample(list(range(facts)), ["r"] * facts, count=1000, seed=int(rng.integers(2**31)))
    means = right.mean(1)
    replicates = 100 * drawn.means(means, extremes=(0.0, 1.0))
    scores = 100 * right.mean(2)
    found = stats.compare_all(scores, replicates, facts)
    ranks, _ = stats.ranks(scores.mean(1), found.p)
    p_values = found.p[0, 1:]
    if seeds == 1:
        p_values = [stats.sign_flip(one.sum(0)) for one in right[0].astype(int) - right[1:].astype(int)]
    return bool(ranks.max() > 1), bool(stats.holm(p_values).min() < stats.ALPHA)


def main() -> None:
    """Simulate tables of several shapes and print how many err."""
    parser = study.parser(__doc__)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {}
    for entries, seeds, luck in (
        (5, 3, 0.0),
        (5, 3, 0.3),
        (20, 3, 0.0),
        (20, 3, 0.3),
        (20, 5, 0.3),
        (5, 1, 0.0),
        (5, 1, 0.3),
    ):
        rng = np.random.default_rng(options.seed)
        wrong = np.array([table(rng, entries, seeds, 380, luck) for _ in range(options.tables)])
        name = f"{entries} entries, {seeds} seeds, luck of training {luck}"
        found[name] = {
            kind: round(100 * float(share), 2) for kind, share in zip(("ranks", "tests"), wrong.mean(0), strict=True)
        }
    result = {
        "tables": options.tables,
        "seed": options.seed,
        "machine": hardware(),
        "percent_of_tables_in_error": found,
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
