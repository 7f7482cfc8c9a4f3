"""One file a command: its options, and the few lines that call the rooms. Nobody but ``cli.py`` imports from here.

A command is a module with ``NAME``, ``HELP``, and ``configure(parser)``, which adds its options and says what runs; it
stands in the folder of its group, whose ``COMMANDS`` give the order of the help. Heavy imports stand inside ``run``.
"""

from fthall.commands import finetune, labels, measure, publish, start, submit, why

GROUPS = (start, labels, finetune, measure, why, submit, publish)
"""In the order a user meets them."""
