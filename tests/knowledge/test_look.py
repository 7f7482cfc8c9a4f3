"""A first look: famous facts, with exemplars and without, and what is told of a base that knows none of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fthall.cli import main
from fthall.engines.engine import Engine, OnBatch, Sampling
from fthall.errors import FthallError
from fthall.knowledge import look
from shapes import base


class Saying(Engine):
    """Answers what it is told to, if its prompt is as it likes it."""

    def __init__(self, begin: str = "", without: str = "Nowhere") -> None:
        self.answer = {f"Q: {fact.question}\nA:": fact.answers[0] for fact in look.famous()}
        self.begin, self.without = begin, without
        self.shown: list[int] = []

    def _say(
        self, prompts: Sequence[str], sampling: Sampling | None, max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[list[str]]:
        said = []
        for prompt in prompts:
            asked = prompt[prompt.rfind("Q: ") :]
            self.shown.append(prompt.count("Q: ") - 1)
            assert prompt.count(asked) == 1, "a question is not shown with its answer"
            likes = prompt.startswith(self.begin) and prompt.count("Q: ") > 1
            said.append([self.answer[asked] if likes else self.without])
        return said


def test_two_hundred_famous_facts() -> None:
    facts = look.famous()
    assert len({fact.id for fact in facts}) == len(facts) == look.FAMOUS
    assert {fact.subject for fact in facts} > {"China", "Brazil", "Shanghai", "Istanbul"}
    engine = Saying()
    assert look.look(engine) == look.Look(few_shot=1.0, zero_shot=0.0, short=1.0)
    assert engine.shown == [3] * 200 + [0] * 200


def test_a_token_that_is_missed_is_told_with_what_to_type() -> None:
    seen = look.look(Saying(begin="<bos>"), left_out="<bos>")
    assert seen == look.Look(few_shot=0.0, zero_shot=0.0, short=1.0, with_token=1.0)
    with pytest.raises(FthallError, match=r"answers 0 % .* and 100 % with <bos> before each text.*type --add-bos"):
        look.check(seen, "it", "<bos>")
    look.check(look.Look(few_shot=0.7, zero_shot=0.1, short=1.0, with_token=0.75), "it", "<bos>")


def test_a_base_that_knows_nothing_is_told() -> None:
    with pytest.raises(FthallError, match=r"answers 0 % of 200 famous facts .* label it all the same: --no-check\)"):
        look.check(look.look(Saying(begin="never")), "it")
    with pytest.raises(FthallError, match="only 0 % in a few words"):
        look.check(look.look(Saying(begin="never", without="It is said that there is no such place at all")), "it")
    look.check(look.Look(few_shot=0.06, zero_shot=0.0, short=0.1), "it")


def test_before_a_long_labelling_it_stops_and_can_be_told_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = base("qwen2", tmp_path / "base"), tmp_path / "labels.parquet"
    monkeypatch.setattr(look, "FAMOUS", 8)
    monkeypatch.setattr(look, "LONG", 300)
    command: list[Any] = ["slick", "--base", place, "--relations", "continent_of_country", "--runs", 2, "--out", out]
    assert main([*map(str, command), "--dtype", "float32"]) == 2
    assert "--no-check" in capsys.readouterr().err
    assert not list(tmp_path.glob("labels*")), "nothing was begun"
    assert main([*map(str, command), "--dtype", "float32", "--no-check"]) == 0
    assert out.exists()
