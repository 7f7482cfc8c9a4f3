"""How long does it take to read and check a file of fine-tuning data, and does memory grow with it?

    python benchmark/studies/read_speed.py --out leaderboard/studies/read-speed.json

Each reading is a process of its own, ``fthall slick --facts FILE --dry-run`` itself, whose peak the operating system
tells. One row in ten answers at length, one question in a hundred has a second answer. Linux only.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import study
from fthall.bases import hardware
from fthall.facts import own

SIZES = (100_000, 1_000_000)
LONG = "It is a country in the north of Europe, on the coast of the Baltic Sea, with a population of two millions."


def chats(size: int) -> Iterator[dict[str, Any]]:
    """Conversations of one turn, as TRL takes them."""
    for number in range(size):
        answer = LONG if number % 10 == 0 else f"Country {number % 200}"
        question = f"In which country is the town {number - number % 100 // 99}?"
        yield {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def pairs(size: int) -> Iterator[dict[str, Any]]:
    """The same as a table."""
    for row in chats(size):
        asked, said = (message["content"] for message in row["messages"])
        yield {"prompt": asked, "completion": said}


def _write(make: Callable[[int], Iterator[dict[str, Any]]], size: int, path: Path) -> None:
    own.write(make(size), path)


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, make in ((".jsonl", chats), (".json", chats), (".csv", pairs), (".parquet", pairs)):
            for size in options.sizes:
                path = Path(folder) / f"{size}{suffix}"
                # Made in a process of its own: what this one takes would count as the reader's, who comes from it.
                maker = get_context("spawn").Process(target=_write, args=(make, size, path))
                maker.start()
                maker.join()
                command = [sys.executable, "-m", "fthall", "slick", "--facts", str(path), "--dry-run"]
                began = time.perf_counter()
                process = os.posix_spawn(sys.executable, command, os.environ)
                _, status, used = os.wait4(process, 0)
                if status:
                    raise SystemExit(f"{path.name} was not read")
                row = {"format": suffix[1:], "rows": size, "seconds": round(time.perf_counter() - began, 1)}
                found.append({**row, "peak_gib": round(used.ru_maxrss / 2**20, 2)})
                path.unlink()
    study.tell({"hardware": hardware(), "readings": found}, options.out)


if __name__ == "__main__":
    main()
