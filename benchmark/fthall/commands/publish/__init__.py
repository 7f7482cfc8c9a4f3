"""Commands: publish."""

from fthall.commands.publish import export, site, table

TITLE = "publish"
COMMANDS = (site, table, export)
