"""Commands: fine-tune."""

from fthall.commands.finetune import run, sweep

TITLE = "fine-tune"
COMMANDS = (run, sweep)
