"""Commands that ask why it forgets."""

from fthall.commands.why import drift, experiment, forecast

TITLE = "why it forgets"
COMMANDS = (experiment, forecast, drift)
