"""How long a million made-up facts take, and how much memory: made, checked and written, on one core.

    python benchmark/studies/synthetic_speed.py --out leaderboard/studies/synthetic-speed.json

Three kinds of sets, one after the other, and what lm-eval takes to load a task of 100,000.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from lm_eval.tasks import TaskManager

import study
from fthall.bases import hardware
from fthall.facts import synthetic
from fthall.files import sha256
from fthall.paths import tasks_dir

SIZE, OF_TASK = 1_000_000, 100_000


def main() -> None:
    """Make, write, hash; load a task."""
    given = study.parser(__doc__).parse_args()
    rows = []
    for keys, values in (("name", "country"), ("uuid", "uuid"), ("name", "person")):
        with tempfile.TemporaryDirectory() as folder:
            path, began = Path(folder) / "facts.jsonl", time.process_time()
            synthetic.write(synthetic.generate(synthetic.Spec(keys=keys, values=values, size=SIZE)), path)
            took = time.process_time() - began
            rows.append({"keys": keys, "values": values, "seconds": round(took, 1), "sha256": sha256(path)})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    began = time.perf_counter()
    manager = TaskManager(
        include_path=str(tasks_dir()), include_defaults=False, metadata={"synth_size": OF_TASK, "pretrained": "x"}
    )
    task = manager.load("fthall_synth_name")["tasks"]["fthall_synth_name"]
    assert len(task.dataset["test"]) == OF_TASK
    loading = round(time.perf_counter() - began, 1)
    told = {"facts": SIZE, "sets": rows, "peak_gib": round(peak, 2), "task_facts": OF_TASK, "task_seconds": loading}
    study.tell({"hardware": hardware(), **told}, given.out)


if __name__ == "__main__":
    main()
