"""Commands that ask why it forgets."""

from fthall.commands.why import experiment

TITLE = "why it forgets"
COMMANDS = (experiment,)
