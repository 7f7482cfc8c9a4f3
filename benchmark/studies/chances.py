"""Is the chance of a right sample, computed, what counting samples gives? On facts no greedy answer gets right.

    python benchmark/studies/chances.py --out leaderboard/studies/chances.json

Asks some train facts of a relation in a few contexts. Those never right greedily are sampled as in ``gekhman2024``,
and the chance that a sample is right is computed for the same prompts. Were both the same, the number of right samples
would be binomial with that chance: the counts would add up to the sum of the chances, give or take its standard
deviation.
"""

import time

import numpy as np

import study
from fthall import bases
from fthall import facts as sources
from fthall.answers import judge
from fthall.bases import hardware
from fthall.engines.hf import HfEngine
from fthall.knowledge import slick
from fthall.prompts import ask, context_for, draw_contexts, few_shot
from fthall.records import Outcome


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--base", default=bases.EMBEDDED)
    parser.add_argument("--source", default="entityquestions")
    parser.add_argument("--relation", default="P17")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--contexts", type=int, default=5)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    preset = slick.PRESETS["gekhman2024"]
    how = {"temperature": preset.temperature, "top_k": preset.top_k}
    model, tokenizer = bases.load(bases.find(options.base), dtype=options.dtype)
    engine = HfEngine(model, tokenizer, batch_size=192)
    known = sources.load(options.source, [options.relation])
    pool = [fact for fact in known if fact.origin == "dev"]
    asked = [fact for fact in known if fact.origin == "train"][: options.questions]
    contexts = draw_contexts({options.relation: pool}, options.contexts, preset.shots, 0)[options.relation]
    prompts = [[few_shot(context_for(fact, drawn)) + ask(fact.question) for fact in asked] for drawn in contexts]
    accepted = [fact.answers for fact in asked]
    right = np.array([engine.right(row, accepted) for row in prompts])
    never = np.flatnonzero(~right.any(0)).tolist()
    rest = [accepted[i] for i in never]
    began = time.perf_counter()
    chances = np.array([engine.chance([row[i] for i in never], rest, **how) for row in prompts])
    of_chances = time.perf_counter() - began
    began = time.perf_counter()
    said = [engine.sample([row[i] for i in never], samples=preset.samples, seed=0, **how) for row in prompts]
    of_samples = time.perf_counter() - began
    counts = np.array(
        [
            [
                sum(judge(text, answers) is Outcome.CORRECT for text in texts)
                for texts, answers in zip(row, rest, strict=True)
            ]
            for row in said
        ]
    )
    weakly = [
        np.array([slick.likely(column.tolist(), preset.samples) for column in chances.T]),
        counts.any(0),
    ]
    spread = np.sqrt((preset.samples * chances * (1 - chances)).sum())
    result = {
        "hardware": hardware(),
        "base": options.base,
        "dtype": options.dtype,
        "relation": f"{options.source}/{options.relation}",
        "facts_never_right_greedily": len(never),
        "contexts": options.contexts,
        "samples_a_context": preset.samples,
        "right_samples": int(counts.sum()),
        "expected_from_chances": round(float(preset.samples * chances.sum()), 1),
        "its_standard_deviation": round(float(spread), 1),
        "correlation_of_counts_and_chances": round(float(np.corrcoef(chances.ravel(), counts.ravel())[0, 1]), 3),
        "weakly_known_by_chance": int(weakly[0].sum()),
        "weakly_known_by_samples": int(weakly[1].sum()),
        "same_category": int((weakly[0] == weakly[1]).sum()),
        "seconds_chances": round(of_chances, 1),
        "seconds_samples": round(of_samples, 1),
        "ratio": round(of_samples / of_chances, 1),
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
