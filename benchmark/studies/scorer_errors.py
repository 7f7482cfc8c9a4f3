"""Where is exact match too strict, where too loose? Counted on real answers.

    python benchmark/studies/scorer_errors.py --labels labels.parquet --out leaderboard/studies/scorer.json

Reads every answer of the submissions and, if given, of a labels file (``fthall slick``). *Strict* may be wrong about an
answer that counts as wrong and yet holds an accepted answer ("Paris, France"), or is a letter or two away from one.
*Loose* may be wrong about an answer that counts as correct only since case, accents, punctuation and articles are set
aside, or by an alias. The commonest of each are listed, to be read by a person.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pandas as pd

import study
from fthall import facts as sources
from fthall import submissions
from fthall.answers import first_line, judge, normalise
from fthall.knowledge import splits
from fthall.records import Fact, Outcome

SHOWN = 12
NEAR = 0.85
"""Similarity (difflib's ratio) from which a wrong answer is called near."""


def kind(said: str, answers: Sequence[str]) -> str:
    """What sort of verdict this is."""
    outcome = judge(said, answers)
    if outcome is Outcome.CORRECT:
        if first_line(said) in answers:
            return "correct, as written" if first_line(said) == answers[0] else "correct, an alias as written"
        first = normalise(first_line(said)) == normalise(answers[0])
        return "correct once folded" if first else "correct, an alias once folded"
    if outcome is Outcome.ABSTAINED:
        return "abstained"
    words = f" {normalise(first_line(said))} "
    accepted = [normalise(answer) for answer in answers]
    if any(f" {answer} " in words for answer in accepted):
        return "wrong, holds an accepted answer"
    if any(SequenceMatcher(None, words.strip(), answer, autojunk=False).ratio() >= NEAR for answer in accepted):
        return "wrong, near an accepted answer"
    return "wrong"


def count(answers: Iterable[tuple[str, Fact]]) -> dict[str, Any]:
    """Verdicts by kind, and the commonest answers of each that a person should read."""
    kinds: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = {}
    memo: dict[tuple[str, tuple[str, ...]], str] = {}
    for said, fact in answers:
        key = (said, fact.answers)
        found = memo.get(key) or memo.setdefault(key, kind(said, fact.answers))
        kinds[found] += 1
        if found not in {"wrong", "correct, as written"}:
            seen.setdefault(found, Counter())[f"{first_line(said)} | accepted: {', '.join(fact.answers[:4])}"] += 1
    return {
        "answers": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "commonest": {name: dict(rows.most_common(SHOWN)) for name, rows in sorted(seen.items())},
    }


def main() -> None:
    """Count and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--labels", type=Path, help="of the same source as the submissions")
    parser.add_argument("--submissions", type=Path, default=Path("submissions"))
    parser.add_argument("--track", default="geonames/smollm2-135m")
    options = parser.parse_args()
    release = splits.load(options.track)
    facts = {fact.id: fact for rows in release.splits.values() for fact in rows}
    folders = [place for place in submissions.find(options.submissions) if release.track in place.as_posix()]
    runs = [submissions.validate(place, release) for place in folders]
    said = ((a.prediction, facts[a.fact_id]) for run in runs for rows in run.answers.values() for a in rows)
    result: dict[str, Any] = {"track": release.track, "runs": len(runs), "fine-tuned, no exemplars": count(said)}
    if options.labels:
        every = {fact.id: fact for fact in sources.load(str(release.manifest["source"]["name"]))}
        table = pd.read_parquet(options.labels, columns=["fact_id", "answers"])
        pairs = ((text, every[i]) for i, said in zip(table["fact_id"], table["answers"], strict=True) for text in said)
        result["base, behind exemplars"] = count(pairs)
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
