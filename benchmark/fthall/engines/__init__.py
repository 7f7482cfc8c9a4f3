"""Who answers prompts, and what a release is asked.

In: a base by its name, and prompts. Out: answers, verdicts, chances. :mod:`~fthall.engines.engine` is the one shape of
:mod:`~fthall.engines.hf` (our own, on Hugging Face models), :mod:`~fthall.engines.vllm` and
:mod:`~fthall.engines.plain` (``generate``, the reference); :mod:`~fthall.engines.start` makes one, or many on Ray;
:mod:`~fthall.engines.questions` asks it a release, or has lm-eval ask.
"""

from fthall.engines.engine import Engine, OnBatch, Sampling, breaking, judged
from fthall.engines.questions import evaluate, lm_eval_answers
from fthall.engines.start import ENGINES, Call, Spec, Workers, each

__all__ = [
    "ENGINES",
    "Call",
    "Engine",
    "OnBatch",
    "Sampling",
    "Spec",
    "Workers",
    "breaking",
    "each",
    "evaluate",
    "judged",
    "lm_eval_answers",
]
