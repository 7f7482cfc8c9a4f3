"""Commands: fine-tune."""

from fthall.commands.finetune import run

TITLE = "fine-tune"
COMMANDS = (run,)
