"""How sure labels are, by hand and on labels without doubt."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from builders import fact
from fthall.cli import main
from fthall.errors import FthallError
from fthall.knowledge.slick import SlickConfig, label
from fthall.knowledge.stability import greedy_categories, stability

Y, N = True, False


def test_categories_by_hand() -> None:
    assert greedy_categories(np.array([[Y, Y], [Y, N], [N, N]])).tolist() == [2, 1, 0]


def test_labels_without_doubt() -> None:
    found = stability([[Y] * 4, [N] * 4, [N] * 4])
    assert (found.facts, found.runs) == (3, 4)
    assert (found.halves, found.kappa) == pytest.approx((100, 1))
    assert found.again["MaybeKnown"] is None
    assert found.again["Unknown"] == found.again["HighlyKnown"] == pytest.approx(100)
    assert [at.runs for at in found.at] == [1, 2, 3, 4]
    for at in found.at:
        assert at.shares == pytest.approx({"Unknown": 200 / 3, "MaybeKnown": 0, "HighlyKnown": 100 / 3})


def test_one_run_of_two_by_hand() -> None:
    # right in one of two runs: a half, a single run, says HighlyKnown or Unknown, and the other half the opposite
    found = stability([[Y, N]] * 5)
    assert found.halves == 0
    assert found.kappa == pytest.approx(-1)
    one, two = found.at
    assert one.shares == pytest.approx({"Unknown": 50, "MaybeKnown": 0, "HighlyKnown": 50}, abs=12)
    assert one.stays == {"Unknown": 0, "MaybeKnown": None, "HighlyKnown": 0}
    assert two.shares == {"Unknown": 0, "MaybeKnown": 100, "HighlyKnown": 0}


def test_with_few_runs_what_is_known_in_some_looks_unknown() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(400)
    found = stability((rng.random((400, 20)) < chance[:, None]).tolist(), draws=50)
    unknown = [at.shares["Unknown"] for at in found.at]
    assert unknown == sorted(unknown, reverse=True)
    assert unknown[0] == pytest.approx(50, abs=4)
    assert unknown[-1] == pytest.approx(100 / 21, abs=3)  # the mean of (1 - x) ** 20
    assert 0 < found.kappa < 1


def test_adaptive_labels_and_single_runs_are_refused() -> None:
    with pytest.raises(FthallError, match="label without --adaptive"):
        stability([[Y, None]])
    for right in ([], [[Y]]):
        with pytest.raises(FthallError, match="two runs or more"):
            stability(right)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.parquet"
    facts = [fact(f"y{n}", origin="dev") for n in range(6)]
    label(facts, Knowing(), SlickConfig(runs=4, shots=2), labels, identity={"base": "b", "dtype": "d", **SHA})
    assert main(["stability", str(labels)]) == 0
    assert "6 facts, 4 runs. Two halves of the runs agree on 100.0 %" in capsys.readouterr().out
    assert main(["stability", str(labels), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["again"]["HighlyKnown"] == pytest.approx(100)
    more = tmp_path / "more.parquet"
    facts = [fact(f"y{n}", relation="r", origin="dev") for n in range(3)]
    label(facts, Knowing(), SlickConfig(runs=4, shots=2), more, identity={"base": "b", "dtype": "d", **SHA})
    assert main(["stability", str(labels), str(more)]) == 0
    assert "9 facts, 4 runs" in capsys.readouterr().out
    assert main(["stability", str(labels), str(labels)]) == 2
    assert "is labelled twice" in capsys.readouterr().err
    assert main(["stability", str(tmp_path / "none")]) == 2
    assert "no labels file" in capsys.readouterr().err


SHA = {"weights_sha256": "ab" * 32}


class Knowing:
    """Knows everything."""

    def right(self, prompts: Sequence[str], accepted: Sequence[Sequence[str]], **_: object) -> list[bool]:
        return [True] * len(prompts)
