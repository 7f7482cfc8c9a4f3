"""Prompts: their exact text, and contexts that never give the answer away."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import fact
from fthall.prompts import ask, context_for, draw_contexts, few_shot, target
from fthall.records import Fact


def pool(size: int, relation: str = "country_of_city") -> list[Fact]:
    return [fact(f"{n:02}", relation=relation, origin="dev") for n in range(size)]


def test_exact_text() -> None:
    one, two = pool(2)
    assert ask("Where is Riga?") == "Q: Where is Riga?\nA:"
    assert target(one) == " Land 00"
    assert few_shot([]) == ""
    assert few_shot([one, two]) == (
        "Q: In which country is the city of Town 00?\nA: Land 00\n\n"
        "Q: In which country is the city of Town 01?\nA: Land 01\n\n"
    )


@settings(max_examples=50, deadline=None)
@given(size=st.integers(4, 9), shots=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_context_is_never_the_question_nor_its_subject(size: int, shots: int, seed: int) -> None:
    facts = pool(size)
    for drawn in draw_contexts({"country_of_city": facts}, runs=5, shots=shots, seed=seed)["country_of_city"]:
        assert len(set(drawn)) == shots + 1
        for asked in facts:
            context = context_for(asked, drawn)
            assert len(context) == shots
            assert asked.id not in {e.id for e in context}
            assert asked.subject not in {e.subject for e in context}


def test_spare_stands_in_only_where_it_must() -> None:
    a, b, c, d = pool(4)
    assert context_for(fact("zz"), (a, b, c, d)) == (a, b, c)
    assert context_for(b, (a, b, c, d)) == (a, c, d)
    assert context_for(d, (a, b, c, d)) == (a, b, c)


def test_another_fact_of_the_same_subject_is_left_out() -> None:
    a, b, c, d = pool(4)
    same_subject = Fact(id="tiny/other/00", relation="other", subject=a.subject, question="?", answers=("x",))
    assert context_for(same_subject, (a, b, c, d)) == (b, c, d)


def test_contexts_do_not_depend_on_the_order_of_exemplars() -> None:
    facts = pool(9)
    shuffled = random.Random(1).sample(facts, len(facts))
    assert draw_contexts({"r": facts}, 6, 3, 7) == draw_contexts({"r": shuffled}, 6, 3, 7)


def test_contexts_of_a_relation_do_not_depend_on_other_relations() -> None:
    facts = pool(9)
    both = draw_contexts({"r": facts, "a": pool(5, "a")}, 6, 3, 7)
    assert both["r"] == draw_contexts({"r": facts}, 6, 3, 7)["r"]


def test_contexts_differ_between_runs_and_seeds() -> None:
    facts = pool(30)
    drawn = draw_contexts({"r": facts}, 6, 3, 0)["r"]
    assert len(set(drawn)) == 6
    assert drawn != draw_contexts({"r": facts}, 6, 3, 1)["r"]


def test_too_few_exemplars() -> None:
    with pytest.raises(ValueError, match=r"'r' has 3 exemplars; 3-shot prompts need at least 4"):
        draw_contexts({"r": pool(3)}, runs=1, shots=3, seed=0)
    assert len(draw_contexts({"r": pool(4)}, runs=1, shots=3, seed=0)["r"]) == 1
