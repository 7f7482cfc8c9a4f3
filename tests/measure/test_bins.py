"""Name overlap and answer frequency by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fthall import names
from fthall.measure import bins
from fthall.records import Fact


def test_trigrams_and_tokens() -> None:
    assert names.trigrams("Oslo") == {"^os", "osl", "slo", "lo$"}
    assert names.trigrams("Å") == {"^a$"} or names.trigrams("Å") == {"^$"}  # "a" alone is an article
    assert names.tokens("São Paulo, the city") == {"sao", "paulo", "city"}


def test_nearest_by_hand() -> None:
    subjects = [{"a", "b"}, {"c"}, {"x"}, set()]
    trained = [{"a", "b", "c"}, {"c", "d"}]
    assert names.nearest(subjects, trained).tolist() == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert names.nearest(subjects, []).tolist() == [0, 0, 0, 0]


@given(
    st.lists(st.sets(st.sampled_from("abcdef")), max_size=6),
    st.lists(st.sets(st.sampled_from("abcdefgh")), min_size=1, max_size=6),
)
def test_nearest_is_the_greatest_jaccard(subjects: list[set[str]], trained: list[set[str]]) -> None:
    expected = [max((len(s & t) / len(s | t) if s | t else 0.0) for t in trained) for s in subjects]
    np.testing.assert_allclose(names.nearest(subjects, trained), expected, atol=1e-12)


def test_answer_frequency_counts_within_the_relation() -> None:
    def fact(relation: str, answer: str) -> Fact:
        return Fact(answer + relation, relation, "s", "q?", (answer,))

    trained = [fact("r", "India"), fact("r", "india"), fact("q", "India")]
    assert bins.answer_frequency([fact("r", "India"), fact("q", "India"), fact("r", "Po")], trained).tolist() == [
        2,
        1,
        0,
    ]
