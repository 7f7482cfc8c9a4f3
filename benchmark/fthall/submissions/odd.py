"""What looks odd about submissions: said beside them, and no reason to refuse one.

Each finding has an honest explanation now and then (two entries may be the same training), so a person decides. The
bounds are far from what the reference results do: the closest two seeds of an entry differ in 1.1 % of their answers.
"""

import itertools
import math
import operator
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from fthall.answers import LETTERS, answered, normalise, outcomes_of, said_of
from fthall.measure.metrics import reference_of
from fthall.records import Outcome, Release, Split
from fthall.submissions.card import Submission
from fthall.submissions.check import question_hash
from fthall.submissions.tiers import Tier, tier

TOO_ALIKE = 0.003
"""Share of new and old facts that two seeds of an entry should at least answer otherwise."""
FEW = 20
"""Answers that say nothing by being alike."""
CONSTANT, EMPTY = 0.5, 0.2
"""Shares of a split: one and the same answer, no answer."""
UNTAUGHT = 0.1
"""Share of the new facts that nobody answers who was not taught them, where there is no reference to compare with."""
CHANCE = 1e-4
"""Of a gain at least as large, were it luck."""
_CORRECT = LETTERS[Outcome.CORRECT]
_ASKED = (Split.UNKNOWN, Split.HELD)
_NAMED = 3
"""Others at most, that a sentence names."""


def look(release: Release, submissions: Sequence[Submission]) -> dict[str, tuple[str, ...]]:
    """What looks odd about each submission of a track, by slug; a sentence each, empty where nothing does.

    Args:
        release: of the track.
        submissions: all of the track: some of it shows only beside the others.
    """
    by_card = {(one.card.entry, one.card.seed): one for one in submissions}
    reference = reference_of([one.card for one in submissions])
    twins = {card.seed: by_card[card.entry, card.seed] for card in reference}
    wanted = {split: Counter(normalise(fact.answers[0]) for fact in facts) for split, facts in release.splits.items()}
    held_out = {
        split: [question_hash(fact.question) for fact in release.splits[split]]
        for split in (Split.HELD, Split.HELD_VAL)
        if any(one.trained_questions for one in submissions)
    }
    found: dict[str, list[str]] = {one.slug: [] for one in submissions}
    for one in submissions:
        twin = twins.get(one.card.seed) or next(iter(twins.values()), None)
        found[one.slug] += [
            *_monotonous(one, wanted),
            *_perfect(one),
            *_trained(one, held_out),
            *_gained(one, None if twin is one else twin),
        ]
    for slug, said in _alike(submissions).items():
        found[slug] += said
    return {slug: tuple(said) for slug, said in found.items()}


def _monotonous(one: Submission, wanted: Mapping[Split, Counter[str]]) -> list[str]:
    """The same answer, or none, over and over; ``wanted`` is how often each is the right one."""
    said = []
    for split in one.answers:
        rows = said_of(one.answers, split)
        if len(rows) < FEW:
            continue
        answers: Counter[str] = Counter()
        for prediction, times in Counter(rows).items():
            answers[answered(prediction)] += times
        most, times = max(((text, n) for text, n in answers.items() if text), key=lambda row: row[1], default=("", 0))
        if times > CONSTANT * len(rows) and times > 2 * wanted[split][most]:
            said.append(f"answers {most[:60]!r} to {times} of {len(rows)} questions of {split}")
        if answers[""] > EMPTY * len(rows):
            said.append(f"gives no answer to {answers['']} of {len(rows)} questions of {split}")
    return said


def _perfect(one: Submission) -> list[str]:
    """Not one miss, in any split: no model did that, and whoever types the answers in does."""
    letters = "".join([outcomes_of(one.answers, split) for split in one.answers])
    if len(letters) < FEW or letters.count(_CORRECT) < len(letters):
        return []
    return [f"has all of its {len(letters)} answers right"]


def _trained(one: Submission, held_out: Mapping[Split, Sequence[str]]) -> list[str]:
    """Held-out facts, by the hashes of their questions, among those it says it was trained on."""
    if not one.trained_questions:
        return []
    said = []
    for split, hashes in held_out.items():
        if found := sum(question in one.trained_questions for question in hashes):
            said.append(
                f"has {found} of the {len(hashes)} questions of {split}, never to be trained on, in its training data"
            )
    return said


def _gained(one: Submission, twin: Submission | None) -> list[str]:
    """More than the split can show: old facts beyond the reference, new facts without having been taught them."""
    said = []
    if twin is not None:
        gained, lost = _changed(one, twin, Split.HELD)
        if gained > lost and _luck(gained, lost) < CHANCE:
            said.append(
                f"answers {gained} old facts that the reference does not, and loses {lost}: more than there is to win"
            )
    if Split.UNKNOWN not in one.card.trained_on:
        learned, of = one.results.counts[Split.UNKNOWN].correct, len(outcomes_of(one.answers, Split.UNKNOWN))
        if twin is None:
            odd = learned > UNTAUGHT * of
        else:
            gained, lost = _changed(one, twin, Split.UNKNOWN)
            odd = gained > lost and _luck(gained, lost) < CHANCE
        if odd:
            said.append(f"answers {learned} of {of} new facts, on which it was not trained")
    return said


def _changed(one: Submission, other: Submission, split: Split) -> tuple[int, int]:
    """Facts that only the one has right, and only the other."""
    pairs = Counter(zip(outcomes_of(one.answers, split), outcomes_of(other.answers, split), strict=True))
    gained = sum(count for (here, there), count in pairs.items() if here == _CORRECT != there)
    lost = sum(count for (here, there), count in pairs.items() if here != _CORRECT == there)
    return gained, lost


def _luck(gained: int, lost: int) -> float:
    """Chance of at least as many gains among all changes, were each a fair coin (McNemar's test, exact, one-sided)."""
    changed = gained + lost
    return sum(math.comb(changed, k) for k in range(gained, changed + 1)) / (1 << changed)


def _named(one: Submission) -> str:
    """A submission's name; that it was refuted is not to be overlooked."""
    return f"{one.slug} (refuted)" if tier(one) is Tier.REFUTED else one.slug


def _alike(submissions: Sequence[Submission]) -> Mapping[str, list[str]]:
    """Answers that are another submission's: all of them, or, of another seed of the entry, nearly all."""
    said: dict[str, list[str]] = defaultdict(list)
    answers = {
        one.slug: tuple(itertools.chain.from_iterable(said_of(one.answers, split) for split in _ASKED))
        for one in submissions
    }
    same, seeds = defaultdict(list), defaultdict(list)
    for one in submissions:
        if len(answers[one.slug]) < FEW:
            continue
        same[answers[one.slug]].append(one)
        seeds[one.card.entry].append(one)
    for group in same.values():
        for one in group:
            if others := [_named(other) for other in group if other is not one][:_NAMED]:
                said[one.slug].append(f"gives all of the {len(answers[one.slug])} answers of {', '.join(others)}")
    for group in seeds.values():
        for one, other in itertools.combinations(group, 2):
            differing = sum(map(operator.ne, answers[one.slug], answers[other.slug]))
            if 0 < differing <= TOO_ALIKE * len(answers[one.slug]):
                for here, there in ((one, other), (other, one)):
                    said[here.slug].append(
                        f"gives all but {differing} of the {len(answers[one.slug])} answers of {there.slug}"
                    )
    return said
