"""Commands: facts and labels."""

from fthall.commands.labels import fetch, release, slick, stability, synthetic

TITLE = "facts and labels"
COMMANDS = (fetch, synthetic, slick, stability, release)
