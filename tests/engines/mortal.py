"""An engine for workers on Ray: light to import, and it can die."""

import os
from collections.abc import Sequence
from pathlib import Path


class Mortal:
    """Knows ``Town y*``; the first worker that is asked about ``Town y3`` dies of it."""

    def __init__(self, grave: Path) -> None:
        self.grave = grave

    def right(self, prompts: Sequence[str], accepted: Sequence[Sequence[str]], **options: object) -> list[bool]:
        asked = [prompt.rsplit("Town ", 1)[1] for prompt in prompts]
        if any(text.startswith("y3") for text in asked) and not self.grave.exists():
            self.grave.touch()
            os._exit(1)  # as if killed -9
        return [text.startswith("y") for text in asked]
