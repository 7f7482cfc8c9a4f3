"""A recipe and a base in, checkpoints with their trajectories out.

:mod:`~fthall.finetune.methods` says as data what can be run, :mod:`~fthall.finetune.losses` and
:mod:`~fthall.finetune.data` what is learned from what, :mod:`~fthall.finetune.trainer` how;
:mod:`~fthall.finetune.train` makes one run, :mod:`~fthall.finetune.experiment` one of a recipe, tracked by
:mod:`~fthall.finetune.tracking`; :mod:`~fthall.finetune.folder` reads what a run leaves behind.
"""

from fthall.finetune.folder import read_answers, read_run, read_trajectory
from fthall.finetune.methods import Recipe, Run, Training, load_recipe

__all__ = ["Recipe", "Run", "Training", "load_recipe", "read_answers", "read_run", "read_trajectory"]
