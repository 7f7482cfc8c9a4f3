"""Everything about one entry, for its own page: what it forgot, where, and the very facts."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fthall.answers import first_line
from fthall.leaderboard.board import Entry
from fthall.leaderboard.charts import Panel
from fthall.measure import report
from fthall.measure.bins import Parts
from fthall.measure.report import Report
from fthall.measure.runs import EvaluatedRun, Ground, twins
from fthall.records import Outcome, Release, Split
from fthall.schema import visible

SHADES = 10
"""Of a heat map; style.css has as many and one for nothing."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry answers to a held-out fact where it differs from the reference, or none of both is right."""

    fact_id: str
    question: str | None
    """None where the facts may not be shown."""
    gold: str | None
    reference: str
    answers: tuple[tuple[int, str, Outcome], ...]
    """(seed, answer, outcome), a seed each."""
    kinds: tuple[str, ...]
    """``lost``, ``gained``, ``abstained``, ``wrong``: those that apply to any of its seeds."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a heat map."""

    percent: float
    shade: int
    """0 to :data:`SHADES`."""


@dataclass(frozen=True, slots=True)
class EntryPage:
    """One page."""

    name: str
    """Of its file, without ``.html``."""
    entry: Entry
    report: Report
    panel: Panel | None
    heat: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    """(relation, items, a cell an outcome), means over seeds."""
    told: tuple[Told, ...]
    same: int
    """Held-out facts that reference and all seeds have right: they are not listed."""
    cite: str
    """BibTeX."""


def page_name(track_id: str, slug: str) -> str:
    """The file of an entry's page, without its end."""
    return f"{track_id}--{slug}"


def entry_page(
    track_id: str, entry: Entry, panel: Panel | None, reference: Sequence[EvaluatedRun], on: Ground, parts: Parts
) -> EntryPage:
    """All that its page shows.

    Args:
        track_id: of the section on the front page.
        entry: from the board.
        panel: its trajectory, if it has one.
        reference: the runs of the track's reference; may be empty.
        on: the release, with the resampled subjects all entries share.
        parts: of the held-out facts, the same for all entries.
    """
    runs = [row.submission.run for row in entry.seeds]
    ours = f"{Split.HELD}.jsonl" in on.release.manifest["files"]  # facts of others are named by their ids alone
    told, same = _told(runs, reference, on.release, ours)
    card = entry.seeds[0].submission.card
    return EntryPage(
        name=page_name(track_id, entry.slug),
        entry=entry,
        report=report.report(runs, reference, on, parts),
        panel=panel,
        heat=tuple(_heat(runs, on.release)),
        told=told,
        same=same,
        cite=_bibtex(entry, card.authors, card.created.year, card.url, on.release.track),
    )


def _heat(runs: Sequence[EvaluatedRun], release: Release) -> list[tuple[str, int, tuple[Cell, ...]]]:
    """Outcomes of held-out facts by relation."""
    rows = []
    facts = release.splits[Split.HELD]
    for relation in sorted({fact.relation for fact in facts}):
        chosen = [at for at, fact in enumerate(facts) if fact.relation == relation]
        counted = Counter(run.answers[Split.HELD][at].outcome for run in runs for at in chosen)
        shares = [100 * counted[outcome] / (len(chosen) * len(runs)) for outcome in Outcome]
        rows.append((relation, len(chosen), tuple(Cell(share, _shade(share)) for share in shares)))
    return rows


def _shade(percent: float) -> int:
    """A shade for anything but nothing."""
    return 0 if percent == 0 else max(1, round(percent * SHADES / 100))


def _told(
    runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], release: Release, ours: bool
) -> tuple[tuple[Told, ...], int]:
    """The facts to be looked at, those most seeds lost first, and how many are left out because all have them right."""
    before = {run.seed: twin for twin, run in twins(reference, runs)} if reference else {}
    rows, same = [], 0
    for at, fact in enumerate(release.splits[Split.HELD]):
        kinds: Counter[str] = Counter()
        answers = []
        for run in runs:
            answer = run.answers[Split.HELD][at]
            right = answer.outcome is Outcome.CORRECT
            had = before[run.seed].answers[Split.HELD][at].outcome is Outcome.CORRECT if before else None
            if had is not None and had != right:
                kinds["gained" if right else "lost"] += 1
            if not right:
                kinds[str(answer.outcome)] += 1
            answers.append((run.seed, visible(first_line(answer.prediction)), answer.outcome))
        if not kinds:
            same += 1
            continue
        first = next(iter(before.values())).answers[Split.HELD][at].prediction if before else ""
        rows.append(
            (
                (-kinds["lost"], -kinds["gained"], at),
                Told(
                    fact.id,
                    fact.question if ours else None,
                    fact.answers[0] if ours else None,
                    visible(first_line(first)),
                    tuple(answers),
                    tuple(kind for kind in ("lost", "gained", "abstained", "wrong") if kinds[kind]),
                ),
            )
        )
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0])), same


def _bibtex(entry: Entry, authors: Sequence[str], year: int, url: str | None, track: str) -> str:
    """How to cite an entry; what could end a field or start a command is left out."""

    def plain(text: str) -> str:
        return re.sub(r"[{}\\$&%#_^~]", " ", text)

    fields = {
        "title": f"{{{plain(entry.title)}}} on the fthall track {plain(track)}",
        "author": " and ".join(plain(author) for author in authors),
        "year": str(year),
        **({"url": url} if url else {}),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{fthall-{entry.slug},", *lines, "}"])
