"""The embedded facts: well-formed, answerable, and never giving their own answer away."""

import re
from collections import defaultdict

import pytest

from fthall import facts
from fthall.answers import judge, normalise
from fthall.errors import FthallError
from fthall.facts import geonames
from fthall.records import Fact, Outcome

ALL = facts.load("geonames")
COUNTRY_OF = re.compile(r"country_of_\w+_city")


def city_facts() -> list[Fact]:
    found = [f for f in ALL if COUNTRY_OF.fullmatch(f.relation)]
    assert len(found) > 3000
    return found


def test_unknown_source_lists_the_known() -> None:
    with pytest.raises(FthallError, match=r"^unknown source 'wikidata'; known sources: geonames, entityquestions$"):
        facts.load("wikidata")


def test_a_fact_as_it_is_asked() -> None:
    by_id = {f.id: f for f in ALL}
    andorra = by_id["geonames/currency_of_country/3041565"]
    assert andorra == Fact(
        id="geonames/currency_of_country/3041565",
        relation="currency_of_country",
        subject="Andorra",
        question="What is the currency of Andorra?",
        answers=("Euro", "Euros", "EUR"),
        origin="dev",
    )


def test_every_relation_has_a_template_and_facts_of_both_origins() -> None:
    origins = defaultdict(set)
    for f in ALL:
        origins[f.relation].add(f.origin)
    assert origins.keys() == geonames.TEMPLATES.keys()
    assert all(found == {"train", "dev"} for found in origins.values())


def test_every_relation_has_enough_dev_facts_for_its_contexts() -> None:
    for relation in geonames.TEMPLATES:
        assert sum(f.relation == relation and f.origin == "dev" for f in ALL) >= 4


def test_ids_are_unique_and_name_their_relation() -> None:
    assert len({f.id for f in ALL}) == len(ALL)
    assert all(f.id.startswith(f"geonames/{f.relation}/") for f in ALL)


def test_no_question_is_asked_twice() -> None:
    assert len({normalise(f.question) for f in ALL}) == len(ALL)


def test_answers_and_subjects_are_not_empty_and_are_one_plain_line() -> None:
    for f in ALL:
        assert f.answers
        for text in (f.subject, *f.answers):
            assert normalise(text)
            assert text.isprintable()
            assert text == text.strip()
        assert len(set(f.answers)) == len(f.answers)
        assert "{" not in f.question
        assert f.subject in f.question
        assert f.question.endswith("?")


def test_every_accepted_answer_is_judged_right() -> None:
    assert all(judge(answer, f.answers) is Outcome.CORRECT for f in ALL for answer in f.answers)


def test_a_wrong_answer_is_not_taken_for_silence() -> None:
    """Not even Namibia's domain, which reads like "n/a", nor what starts like an article."""
    silent = {f.answers[0] for f in ALL if judge(f.answers[0], ["Atlantis"]) is Outcome.ABSTAINED}
    assert not silent


def test_the_answer_does_not_stand_in_the_question() -> None:
    told = [
        (f.subject, answer)
        for f in city_facts()
        for answer in f.answers
        if len(answer) > 3 and normalise(answer) in normalise(f.subject)
    ]
    assert told == []


def test_no_city_name_is_shared_by_two_countries() -> None:
    countries = defaultdict(set)
    for f in city_facts():
        countries[normalise(f.subject)].add(f.answers[0])
    assert {name: found for name, found in countries.items() if len(found) > 1} == {}


def test_a_subject_has_one_origin() -> None:
    origins = defaultdict(set)
    for f in ALL:
        origins[normalise(f.subject)].add(f.origin)
    assert {name: found for name, found in origins.items() if len(found) > 1} == {}
    share = sum(found == {"train"} for found in origins.values()) / len(origins)
    assert 0.52 < share < 0.58


def test_a_country_is_always_called_the_same() -> None:
    """One preferred name for each set of aliases, or the training target would depend on the city."""
    preferred = defaultdict(set)
    for f in city_facts():
        for answer in f.answers:
            preferred[answer].add(f.answers[0])
    shared = {answer: names for answer, names in preferred.items() if len(names) > 1}
    assert shared == {}


@pytest.mark.parametrize(
    ("fact_id", "right", "wrong"),
    [
        ("geonames/capital_of_country/3017382", ["Paris"], ["Lyon"]),
        ("geonames/continent_of_country/1861060", ["Asia"], ["Europe"]),
        ("geonames/iso_code_of_country/2921044", ["DEU", "deu"], ["DE", "GER"]),
    ],
)
def test_facts_everybody_knows(fact_id: str, right: list[str], wrong: list[str]) -> None:
    known = next(f for f in ALL if f.id == fact_id)
    assert all(judge(said, known.answers) is Outcome.CORRECT for said in right)
    assert all(judge(said, known.answers) is Outcome.WRONG for said in wrong)


def test_the_file_is_utf8_without_a_mark_and_one_object_a_line() -> None:
    content = geonames._FILE.read_bytes()
    assert content.decode("utf-8")[0] == "{"
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == len(ALL)
    assert "\ufffd" not in content.decode("utf-8")
    assert "Ã" not in content.decode("utf-8")


def test_the_best_known_city_and_who_does_not_say() -> None:
    known = facts.popularity("geonames")
    assert known.keys() == {fact.id for fact in ALL}
    cities = {f.subject: known[f.id] for f in ALL if f.relation == "country_of_asian_city"}
    assert max(cities, key=lambda name: cities[name]) == "Shanghai"
    with pytest.raises(FthallError, match=r"^entityquestions does not say how widely its subjects are known"):
        facts.popularity("entityquestions")
