"""Commands: start."""

from fthall.commands.start import demo, tasks_dir, tracks

TITLE = "start"
COMMANDS = (demo, tracks, tasks_dir)
