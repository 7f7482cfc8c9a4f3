"""The forecast: curves whose truth is known, and the command on labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fthall import cli
from fthall.errors import FthallError
from fthall.knowledge import releases
from fthall.why import forecast


class Dose:
    """Results whose arms forget what a function of the share says."""

    def __init__(self, shares: list[float], forgets: Any) -> None:
        self.runs = {(f"of-{share}", "sft"): (None, None) for share in shares}
        kinds = [{"known": round(100 * (1 - s)), "unknown": round(100 * s), "facts": "real"} for s in shares]
        self.found = {"arms": dict(zip((arm for arm, _ in self.runs), kinds, strict=True))}
        self._forgets = forgets

    def forgotten(self, arm: str, entry: str) -> Any:
        share = float(arm.removeprefix("of-"))
        return type("Paired", (), {"difference": self._forgets(share)})


SHARES = [0.1, 0.25, 0.5, 0.75, 1.0]


def test_a_parabola_is_found_and_nothing_is_missed() -> None:
    curve = forecast.fit(Dose(SHARES, lambda s: 4 * s + 20 * s**2))  # type: ignore[arg-type]
    assert curve.shape == "quadratic"
    assert curve.weights == pytest.approx([4, 20])
    assert curve.missed == pytest.approx(0, abs=1e-9)
    assert curve.at(0.3) == pytest.approx((3.0, 3.0, 3.0))
    assert curve.carries(9.0) == pytest.approx(0.579, abs=0.001)  # the root of 20 s² + 4 s = 9 is 0.5782
    assert curve.carries(25) is None


def test_the_interval_and_what_is_missed_are_those_computed_by_hand() -> None:
    given = dict(zip(SHARES, (2.5, 6.0, 11.0, 16.0, 20.5), strict=True))
    curve = forecast.fit(Dose(SHARES, given.get))  # type: ignore[arg-type]
    assert curve.shape == "linear"
    x, y = np.array(SHARES), np.array(list(given.values()))
    slope = (x @ y) / (x @ x)
    assert curve.weights[0] == pytest.approx(slope)
    s = np.sqrt(((y - slope * x) ** 2).sum() / 4)
    there, low, high = curve.at(0.5)
    assert there == pytest.approx(slope / 2)
    assert high - there == pytest.approx(2.776445 * s * np.sqrt(1 + 0.25 / (x @ x)), rel=1e-5)
    assert there - low == pytest.approx(high - there)
    missed = [y[i] - x[i] * (np.delete(x, i) @ np.delete(y, i)) / (np.delete(x, i) @ np.delete(x, i)) for i in range(5)]
    assert curve.missed == pytest.approx(np.sqrt(np.mean(np.square(missed))))


def test_a_curve_never_goes_down() -> None:
    bent = forecast.fit(Dose(SHARES, lambda s: -4 * s + 37 * s**2))  # type: ignore[arg-type]
    assert bent.shape in {"cubic", "quartic"}, "the parabola that fits it would forecast less than nothing"
    assert [bent.at(s)[0] for s in (0.0, 0.05, 0.1, 0.5)] == sorted(bent.at(s)[0] for s in (0.0, 0.05, 0.1, 0.5))


def test_three_arms_are_no_curve() -> None:
    with pytest.raises(FthallError, match="a curve needs four"):
        forecast.fit(Dose(SHARES[:3], lambda s: s))  # type: ignore[arg-type]


def test_the_command_on_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"base": "smollm2-135m", "weights_sha256": "0" * 64}
    table = pd.DataFrame({"category": ["Unknown"] * 3 + ["HighlyKnown"] * 6 + ["MaybeKnown"]})
    asked: list[Path] = []
    monkeypatch.setattr(releases, "read_labels", lambda path: asked.append(path) or (table, made))
    (tmp_path / "mine.csv.labels.parquet").touch()
    assert cli.main(["forecast", str(tmp_path / "mine.csv")]) == 0, "the rows that fthall slick --facts wrote"
    assert asked == [tmp_path / "mine.csv.labels.parquet"]
    capsys.readouterr()
    assert cli.main(["forecast", str(tmp_path / "labels.parquet")]) == 0
    told = capsys.readouterr().out
    assert "3 of 10 facts are unknown to smollm2-135m, 30.0 % (6 HighlyKnown, 1 MaybeKnown, 3 Unknown)" in told
    assert "another base than the curve's" in told
    monkeypatch.undo()
    assert cli.main(["forecast", str(tmp_path / "none.parquet")]) == 2
    assert "fthall slick" in capsys.readouterr().err
