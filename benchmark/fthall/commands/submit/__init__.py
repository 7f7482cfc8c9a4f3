"""Commands: submit."""

from fthall.commands.submit import submit, validate

TITLE = "submit"
COMMANDS = (submit, validate)
