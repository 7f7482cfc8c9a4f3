"""``make gpu`` at its smallest: the same commands on a handful of facts."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmark/gpu.py"


@pytest.mark.real
def test_the_script_for_a_gpu_at_its_smallest(tmp_path: Path) -> None:
    only = "small,geonames,geonames-sweep"
    command = [sys.executable, str(SCRIPT), "--smallest", "--jobs", "1", "--out", str(tmp_path), "--only", only]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "submissions/geonames/smollm2-135m/sft-known-seed0/results.json").exists()
    assert "trials: 2" in (tmp_path / "geonames-sweep-tuned.yaml").read_text()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, ""), "what is done is left out"
