"""Commands that ask why it forgets."""

from fthall.commands.why import availability, drift, experiment, forecast

TITLE = "why it forgets"
COMMANDS = (experiment, forecast, drift, availability)
