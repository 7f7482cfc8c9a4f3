"""A recipe and a base in, checkpoints with their trajectories out.

:mod:`~fthall.finetune.recipe` says as data what can be run, :mod:`~fthall.finetune.methods` what that means;
:mod:`~fthall.finetune.train` makes one run, with what is in :mod:`~fthall.finetune.loop` (examples, losses, teachers,
the Trainer); :mod:`~fthall.finetune.experiment` makes one of a recipe, tracked; :mod:`~fthall.finetune.folder` reads
what a run leaves behind.
"""

from fthall.finetune.folder import read_answers, read_outcomes, read_run, read_trajectory
from fthall.finetune.recipe import Recipe, Run, Training, load_recipe

__all__ = ["Recipe", "Run", "Training", "load_recipe", "read_answers", "read_outcomes", "read_run", "read_trajectory"]
