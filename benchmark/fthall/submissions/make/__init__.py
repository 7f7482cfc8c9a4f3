"""What people already have in, a valid submission folder out: a checkpoint, a finished run, or what lm-eval wrote.

:mod:`~fthall.submissions.make.of_model` has lm-eval ask a checkpoint, or that of a run;
:mod:`~fthall.submissions.make.harness` reads the folder of an evaluation; :mod:`~fthall.submissions.make.write` writes.
"""

from fthall.submissions.make.harness import from_output, is_output
from fthall.submissions.make.of_model import Given, from_checkpoint, from_run, of_finished_run
from fthall.submissions.make.write import card_of, local_paths_left_out, trained_hashes, write_submission

__all__ = [
    "Given",
    "card_of",
    "from_checkpoint",
    "from_output",
    "from_run",
    "is_output",
    "local_paths_left_out",
    "of_finished_run",
    "trained_hashes",
    "write_submission",
]
