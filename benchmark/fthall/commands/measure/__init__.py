"""Commands: measure."""

from fthall.commands.measure import canary, compare, control, evaluate, report

TITLE = "measure"
COMMANDS = (evaluate, report, compare, control, canary)
