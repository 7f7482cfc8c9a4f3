"""Commands: fine-tune."""

from fthall.commands.finetune import estimate, run, sweep

TITLE = "fine-tune"
COMMANDS = (run, sweep, estimate)
