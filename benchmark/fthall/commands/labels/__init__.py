"""Commands: facts and labels."""

from fthall.commands.labels import fetch, release, slick, stability

TITLE = "facts and labels"
COMMANDS = (fetch, slick, stability, release)
