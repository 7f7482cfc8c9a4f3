"""Everything about one entry, for its own page: what it forgot, where, and the very facts."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fthall.answers import first_line
from fthall.leaderboard.board import Entry
from fthall.leaderboard.charts import Panel
from fthall.measure import report
from fthall.measure.report import Report
from fthall.measure.runs import CODES, EvaluatedRun, Ground, twins
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

    @property
    def marks(self) -> str:
        """The kinds as a list of tokens; a template takes five times as long to join them."""
        return " ".join(self.kinds)

    @property
    def what(self) -> str:
        """The kinds for readers."""
        return ", ".join(self.kinds)


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a heat map."""

    percent: float
    shade: int
    """0 to :data:`SHADES`."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What hangs on an entry's runs and the reference's alone, whatever else is on the track."""

    report: Report
    heat: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    """(relation, items, a cell an outcome), means over seeds."""
    told: tuple[Told, ...]
    same: int
    """Held-out facts that reference and all seeds have right: they are not listed."""


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


def findings(runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], on: Ground) -> Findings:
    """What an entry's page says of its runs.

    Args:
        runs: all seeds of the entry.
        reference: the runs of the track's reference; may be empty.
        on: the release, with the resampled subjects all entries share.
    """
    ours = f"{Split.HELD}.jsonl" in on.release.manifest["files"]  # facts of others are named by their ids alone
    told, same = _told(runs, reference, on.release, ours)
    return Findings(report.report(runs, reference, on), tuple(_heat(runs, on.release)), told, same)


def entry_page(track_id: str, entry: Entry, panel: Panel | None, found: Findings) -> EntryPage:
    """All that its page shows.

    Args:
        track_id: of the section on the front page.
        entry: from the board.
        panel: its trajectory, if it has one.
        found: of its runs.
    """
    card = entry.seeds[0].submission.card
    return EntryPage(
        name=page_name(track_id, entry.slug),
        entry=entry,
        report=found.report,
        panel=panel,
        heat=found.heat,
        told=found.told,
        same=found.same,
        cite=_bibtex(entry, card.authors, card.created.year, card.url, found.report.track),
    )


def _heat(runs: Sequence[EvaluatedRun], release: Release) -> list[tuple[str, int, tuple[Cell, ...]]]:
    """Outcomes of held-out facts by relation."""
    rows = []
    relations = np.array([fact.relation for fact in release.splits[Split.HELD]])
    codes = np.stack([run.outcomes[Split.HELD] for run in runs])
    for relation in sorted(set(relations.tolist())):
        found = codes[:, relations == relation]
        counted = np.bincount(found.ravel(), minlength=len(CODES)).tolist()
        shares = [100 * counted[CODES[outcome]] / found.size for outcome in Outcome]
        rows.append((relation, found.shape[1], tuple(Cell(share, _shade(share)) for share in shares)))
    return rows


def _shade(percent: float) -> int:
    """A shade for anything but nothing."""
    return 0 if percent == 0 else max(1, round(percent * SHADES / 100))


def _told(
    runs: Sequence[EvaluatedRun], reference: Sequence[EvaluatedRun], release: Release, ours: bool
) -> tuple[tuple[Told, ...], int]:
    """The facts to be looked at, those most seeds lost first, and how many are left out because all have them right."""
    before = [twin for twin, _ in twins(reference, runs)] if reference else []
    codes = np.stack([run.outcomes[Split.HELD] for run in runs])
    right = codes == CODES[Outcome.CORRECT]
    had = np.stack([twin.right[Split.HELD] for twin in before]) if before else right
    seeds = {  # how many of them there are, of each fact
        "lost": (had & ~right).sum(0),
        "gained": (~had & right).sum(0),
        "abstained": (codes == CODES[Outcome.ABSTAINED]).sum(0),
        "wrong": (codes == CODES[Outcome.WRONG]).sum(0),
    }
    chosen = np.flatnonzero(sum(seeds.values()))
    facts = release.splits[Split.HELD]
    rows = []
    for at in chosen[np.lexsort((chosen, -seeds["gained"][chosen], -seeds["lost"][chosen]))].tolist():
        fact, given = facts[at], [(run.seed, run.answers[Split.HELD][at]) for run in runs]
        rows.append(
            Told(
                fact.id,
                fact.question if ours else None,
                fact.answers[0] if ours else None,
                _shown(before[0].answers[Split.HELD][at].prediction) if before else "",
                tuple((seed, _shown(answer.prediction), answer.outcome) for seed, answer in given),
                tuple(kind for kind, of in seeds.items() if of[at]),
            )
        )
    return tuple(rows), len(facts) - len(rows)


@functools.lru_cache(maxsize=1 << 16)
def _shown(prediction: str) -> str:
    """An answer as the page has it; entries give the same ones over and over."""
    return visible(first_line(prediction))


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
