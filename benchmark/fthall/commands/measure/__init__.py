"""Commands: measure."""

from fthall.commands.measure import compare, control, evaluate, report

TITLE = "measure"
COMMANDS = (evaluate, report, compare, control)
