"""The scorer: what counts as the same answer, and what as no answer."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fthall.answers import first_line, judge, normalise
from fthall.records import Outcome

CORRECT, WRONG, ABSTAINED = Outcome.CORRECT, Outcome.WRONG, Outcome.ABSTAINED
PIECES = st.sampled_from(
    ["a", "an", "the", "The", " ", ".", "'", "’", "´", "é", "e\u0301", "ß", "þ", "İ", "ﬁ", "x", "\t"]
)


@settings(deadline=None)
@given(st.text() | st.lists(PIECES, max_size=12).map("".join))
@example("t.h.e")
@example("a the an")
@example("þe")
@example("ẞ İ ŉ ΐ ﷺ")
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PARIS", "paris"),
        ("  New \t York ", "new york"),
        ("The Netherlands", "netherlands"),
        ("a bird, an owl and the theatre", "bird owl and theatre"),
        ("Andorra", "andorra"),  # starts with "an", is no article
        ("Washington, D.C.", "washington dc"),
        ("Straße", "strasse"),
        ("ΑΘΗΝΑΣ", "αθηνασ"),  # case folded: no final sigma
        ("Łódź", "lodz"),
        ("Århus", "arhus"),
        ("Tromsø", "tromso"),
        ("+44 20", "44 20"),
        ("1,000", "1000"),
        ("a", "a"),  # nothing else is there
        (".a", "a"),
        ("The A", "the a"),
        ("…", ""),
        ("", ""),
    ],
)
def test_normalise_by_hand(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("St Louis", "St. Louis"),
        ("St. Louis", "St. Louis"),
        ("Washington DC.", "Washington, D.C."),
        ("Cote d'Ivoire", "Côte d'Ivoire"),
        ("Côte d’Ivoire", "Côte d'Ivoire"),
        ("Côte d‘Ivoire", "Côte d'Ivoire"),
        ("Côte d´Ivoire", "Côte d'Ivoire"),
        ("Côte dʼIvoire", "Côte d'Ivoire"),
        ("Guinea‐Bissau", "Guinea-Bissau"),
        ("Sao Paulo", "São Paulo"),
        ("Sa\u0303o Paulo", "São Paulo"),
        ("Netherlands", "The Netherlands"),
        ("the netherlands!", "Netherlands"),
        ("  Paris\n", "Paris"),
        ("Paris\r\nQ: And Spain?", "Paris"),
    ],
)
def test_same_answer(said: str, answer: str) -> None:
    assert judge(said, [answer]) is CORRECT
    assert judge(answer, [said.splitlines()[0]]) is CORRECT


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Paris, France", "Paris"),  # exact match is strict: a trailing explanation makes it another answer
        ("Paris, which is the capital of France", "Paris"),
        ("twelve", "12"),
        ("Niger", "Nigeria"),
        ("Louis", "St. Louis"),
        ("Not Paris", "Paris"),
        ("Pari s", "Paris"),
    ],
)
def test_other_answer(said: str, answer: str) -> None:
    assert judge(said, [answer]) is WRONG


@settings(deadline=None)
@given(st.text())
def test_an_answer_is_right_against_itself(answer: str) -> None:
    assume("\n" not in answer and normalise(answer))
    assert judge(answer, ["something else", answer]) is CORRECT


def test_any_alias_is_right() -> None:
    answers = ("United Kingdom", "UK", "Great Britain")
    assert [judge(said, answers) for said in ("U.K.", "great britain", "England")] == [CORRECT, CORRECT, WRONG]


def test_only_the_first_line_counts() -> None:
    assert first_line("\n Paris \nLondon") == "Paris"
    assert judge("Paris\nLondon", ["Paris"]) is CORRECT
    assert judge("London\nParis", ["Paris"]) is WRONG


@pytest.mark.parametrize("said", ["", " \n\t ", ".", "“”"])
def test_empty_is_abstained(said: str) -> None:
    assert judge(said, ["Paris"]) is ABSTAINED


def test_empty_is_not_right_even_against_an_empty_answer() -> None:
    assert judge("", ["…"]) is ABSTAINED


@pytest.mark.parametrize(
    "said",
    [
        "I don't know",
        "I don’t know.",
        "I do not know the answer.",
        "I'm not sure.",
        "I am not sure",
        "Sorry, I don't know",
        "I'm sorry, but I don't know.",
        "I am sorry, I cannot answer that",
        "Unknown",
        "unknown.",
        "The answer is unknown.",
        "It is not known",
        "This is unclear",
        "No idea",
        "I have no idea.",
        "N/A",
        "None",
        "I do not have that information",
        "I don't have information about it",
        "We cannot determine this",
        "I'm unable to say",
        "There is no information",
        "I'm afraid I don't know.",
        "I honestly don't know",
        "I really do not remember",
        "As an AI language model, I do not have access to that",
        "Sorry, but I can't help with that.",
        "I could not find this city",
        "I am not familiar with it",
        "We don't know",
        "Not available",
        "n/a",
        "N.A.",
        "NA",
        "That information is not available.",
        "It's unclear.",
        "Cannot be determined",
        "There isn't enough information.",
        "Not enough information",
    ],
)
def test_abstentions(said: str) -> None:
    assert judge(said, ["Paris"]) is ABSTAINED


@pytest.mark.parametrize(
    "said",
    [
        "Idaho",
        "Nonesuch",
        "Noneland",
        "Unknownville",
        "Unknown Town",
        "Norway",
        "Nauru",
        "Namibia",
        "I am in France",
        "I know it is France",
        "It is France",
        "The answer is France",
        "Sorry, France",
        "No",
        "Inaccessible Island",
        "A",
        "The",
        ".na",  # a domain
        "Notable",
        "Not Paris",
        "Available",
        "Ireland is known",
        "Its capital is Paris",
        "It is in Unknownland",
        "Sorry",
        "Afraid so",
        "As it is",
        "We have no bananas",
        "I do",
        "Paris, I do not know",  # says Paris first
    ],
)
def test_near_misses_are_wrong(said: str) -> None:
    assert judge(said, ["Paris"]) is WRONG


@pytest.mark.parametrize("answer", ["None", "Unknown", "I don't know", "NA"])
def test_an_accepted_answer_wins_over_abstention(answer: str) -> None:
    assert judge(answer, [answer]) is CORRECT
