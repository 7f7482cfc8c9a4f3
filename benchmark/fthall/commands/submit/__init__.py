"""Commands: submit."""

from fthall.commands.submit import review, submit, validate, verify

TITLE = "submit"
COMMANDS = (submit, validate, review, verify)
