"""How long do the statistics of a large table take, and how much longer one pair and one resample at a time?

    python benchmark/studies/statistics_speed.py

1,000 submissions of 2,000 held-out facts: the whole board (every interval, p-value and rank), and exact tests of all
pairs of submissions. The other side does the same with statsmodels and scipy, on a sample of the pairs and entries, in
the same process; its time for all is that of the sample times the number, and both and the ratio are printed.
"""

import datetime
import resource
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar

import study
from fthall.bases import hardware
from fthall.leaderboard import board
from fthall.measure import stats
from fthall.records import Answer, Fact, Outcome, Release, Split
from fthall.submissions.check import Card, Results, Submission

SAMPLE = 200


def made_up(entries: int, seeds: int, items: int) -> tuple[Release, list[Submission]]:
    """A release of one relation, and submissions that get a share of it right."""
    rng = np.random.default_rng(0)
    sizes = {Split.KNOWN: 200, Split.UNKNOWN: items, Split.HELD: items, Split.HELD_VAL: 200}
    facts = {
        split: tuple(Fact(f"{split}/{n}", f"r{n % 8}", f"{split} {n}", f"{split} {n}?", ("x",)) for n in range(size))
        for split, size in sizes.items()
    }
    sha = "0" * 64
    release = Release("made/up", sha, {"base": {"weights_sha256": sha}}, facts)
    submissions = []
    for entry in range(entries):
        for seed in range(seeds):
            first = entry == 0
            right = {split: rng.random(size) < 0.6 + 0.35 * rng.random() for split, size in sizes.items()}
            answers = {
                split: tuple(
                    Answer(fact.id, split, "x" if ok else "y", Outcome.CORRECT if ok else Outcome.WRONG)
                    for fact, ok in zip(facts[split], found, strict=True)
                )
                for split, found in right.items()
            }
            card = Card.model_validate(
                {
                    **{"schema": 1, "track": "made/up", "release": sha, "entry": f"e{entry}", "title": f"e{entry}"},
                    **{"method": "sft", "seed": seed, "trained_on": ["known"] if first else ["known", "unknown"]},
                    **{"hyperparameters": {}, "base_weights_sha256": sha, "authors": ["A"], "contact": "a"},
                    **{"hardware": "h", "command": "c", "versions": {}, "created": datetime.date(2026, 1, 1)},
                }
            )
            results = Results.model_validate({"schema": 1, "counts": {}})
            slug = f"e{entry}-seed{seed}"
            submissions.append(Submission.model_construct(slug=slug, card=card, results=results, answers=answers))
    return release, submissions


def timed(work: Any) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--entries", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--items", type=int, default=2000)
    options = parser.parse_args()
    release, submissions = made_up(options.entries, options.seeds, options.items)
    whole, _ = timed(lambda: board.board(release, submissions))
    held = np.array([[a.outcome is Outcome.CORRECT for a in run.answers[Split.HELD]] for run in submissions])

    def all_pairs() -> Any:
        lost = stats.discordance(held)
        return stats.holm(stats.mcnemar(lost, lost.T)[np.triu_indices(len(held), 1)])

    exact, _ = timed(all_pairs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, len(held), (SAMPLE, 2))

    def one_by_one() -> Any:
        tables = [[[0, int((held[i] & ~held[j]).sum())], [int((~held[i] & held[j]).sum()), 0]] for i, j in pairs]
        return [mcnemar(table, exact=True).pvalue for table in tables]

    slow, _ = timed(one_by_one)
    all_slow = slow / SAMPLE * len(held) * (len(held) - 1) / 2
    apart = SimpleNamespace(values=held[0].astype(float) - held[-1])
    boot, _ = timed(
        lambda: scipy_stats.bootstrap(
            (apart.values,), np.mean, n_resamples=stats.RESAMPLES, method="percentile", rng=rng, batch=100
        )
    )
    result = {
        "machine": hardware(),
        "submissions": len(submissions),
        "held_items": options.items,
        "board_seconds": round(whole, 1),
        "exact_tests_of_all_pairs_seconds": round(exact, 2),
        "peak_memory_gib": round(peak, 2),
        "the same tests one by one, seconds (extrapolated)": round(all_slow, 1),
        "ratio_tests": round(all_slow / exact, 1),
        "scipy bootstrap of the entries one by one, seconds (extrapolated)": round(boot * options.entries, 1),
        "ratio_bootstrap_alone_to_the_whole_board": round(boot * options.entries / whole, 2),
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
