"""Commands: publish."""

from fthall.commands.publish import site, table

TITLE = "publish"
COMMANDS = (site, table)
