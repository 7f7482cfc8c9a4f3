"""What ``fthall verify`` tells apart: how often submissions with a share of false answers are verified or refuted.

Draws are real (a thousand seeds each), the weights are not asked: an answer is false or it is not, and honest ones flip
as often as the track's control found at most.

python benchmark/studies/verify_power.py --out leaderboard/studies/verify-power.json
"""

import random

import study
from fthall.knowledge import splits
from fthall.records import Split
from fthall.submissions.tiers import Tier
from fthall.submissions.verify import bound

TRACK = "geonames/smollm2-135m"
SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
SEEDS = 1000


def main() -> None:
    """Draw and count."""
    options = study.parser(__doc__).parse_args()
    release, rate = splits.load(TRACK), bound.flip_rate(TRACK)
    ids = {split: [fact.id for fact in facts] for split, facts in release.splits.items()}
    rows = []
    for share in SHARES:
        rng = random.Random(0)
        found: dict[Tier | None, int] = {Tier.VERIFIED: 0, None: 0, Tier.REFUTED: 0}
        covered = 0
        for seed in range(SEEDS):
            held = ids[Split.HELD]
            false = set(rng.sample(held, round(share * len(held))))
            asked = {}
            for split, own in ids.items():
                chosen = bound.draw(own, bound.ITEMS, str(seed), "0" * 64)
                flips = [one for one in chosen if one in false or rng.random() < rate]
                asked[split] = bound.judge_split(len(own), len(chosen), flips, rate)
            found[bound.decide(asked)] += 1
            covered += asked[Split.HELD].false_at_most >= len(false) / len(held)
        rows.append(
            {
                "false_share_of_held": share,
                "verified": found[Tier.VERIFIED] / SEEDS,
                "undecided": found[None] / SEEDS,
                "refuted": found[Tier.REFUTED] / SEEDS,
                "bound_holds": covered / SEEDS,
            }
        )
    study.tell({"track": TRACK, "items": bound.ITEMS, "seeds": SEEDS, "flip_rate": rate, "rows": rows}, options.out)


if __name__ == "__main__":
    main()
