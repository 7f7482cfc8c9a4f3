"""Where the data that ships with fthall lies, and where what it fetches and converts is kept."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
_REPOSITORY = _PACKAGE.parent.parent


def data_dir(name: str) -> Path:
    """The folder ``tasks``, ``leaderboard`` or ``benchmark/recipes``.

    A built wheel carries copies under ``fthall/_data``; in a checkout (or an editable install) the repository's own
    folders are used.
    """
    packaged = _PACKAGE / "_data" / Path(name).name
    return packaged if packaged.is_dir() else _REPOSITORY / name


def tasks_dir() -> Path:
    """The folder of the lm-eval tasks' YAML files, for lm-eval's ``--include_path``."""
    return data_dir("tasks") / "fthall"


def cache_dir() -> Path:
    """``$FTHALL_CACHE``, else ``$XDG_CACHE_HOME/fthall``, else ``~/.cache/fthall``."""
    if own := os.environ.get("FTHALL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fthall"
