"""Is memory flat in the number of questions? Peaks of labelling ever more of the same relation.

    FTHALL_ENTITYQUESTIONS=… python benchmark/studies/label_memory.py --out leaderboard/studies/label-memory.json

Each build is a process of its own, ``fthall slick`` itself, whose peak the operating system tells. Linux only.
"""

import os
import sys
import tempfile
from pathlib import Path

import study
from fthall import bases
from fthall.bases import hardware
from fthall.knowledge.releases import read_labels

SHARDS = ("1/16", "1/4", "1/1")


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--base", default=bases.EMBEDDED)
    parser.add_argument("--relation", default="P17")
    parser.add_argument("--runs", default="1")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, shard in enumerate(SHARDS):
            labels = Path(folder) / f"{number}.parquet"
            what = ["--source", "entityquestions", "--relations", options.relation, "--shard", shard]
            command = [sys.executable, "-m", "fthall", "slick", *what, "--base", options.base, "--runs", options.runs]
            process = os.posix_spawn(sys.executable, [*command, "--out", str(labels)], os.environ)
            _, status, used = os.wait4(process, 0)
            if status:
                raise SystemExit(f"the build of shard {shard} failed")
            questions = len(read_labels(labels)[0]) * int(options.runs)
            found[str(questions)] = round(used.ru_maxrss / 2**20, 2)
    result = {"hardware": hardware(), "base": options.base, "relation": options.relation, "peak_gib": found}
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
