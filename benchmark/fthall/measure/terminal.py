"""Reports as text for a terminal."""

from collections.abc import Iterable, Sequence

from fthall.knowledge.stability import Stability
from fthall.measure.report import Comparison, Item, Report, p_text
from fthall.measure.runs import Paired
from fthall.records import Outcome

_NOT_REACHED = "not reached"


def report_text(made: Report) -> str:
    """A report as tables and sentences."""
    seeds = ", ".join(map(str, made.seeds))
    lines = [f"{made.title} ({made.entry}) on {made.track}, release {made.release[:12]}, seeds {seeds}", ""]
    lines += _table(
        ("facts", "items", "correct %", "95 % interval", "sd of seeds", "wrong %", "abstained %"),
        [
            (
                name,
                str(share.items),
                f"{share.correct:.1f}",
                f"{share.low:.1f} to {share.high:.1f}",
                _sd(share.seed_sd),
                f"{share.wrong:.1f}",
                f"{share.abstained:.1f}",
            )
            for name, share in made.accuracy.items()
        ],
    )
    lines += ["", *made.words, ""]
    rows = []
    if made.forgetting:
        found = made.forgetting
        rows += [
            ("forgetting, points", f"{found.difference:.1f}   {_paired(found)}"),
            ("held items lost / gained a run", f"{found.lost:.1f} / {found.gained:.1f} of {found.items}"),
        ]
        if made.detectable is not None:
            rows.append(("smallest forgetting this split shows", f"{made.detectable:.1f} points (80 % power)"))
    if made.floor is not None:
        rows.append(("floor: what other batches alone change", f"{made.floor:.1f} points"))
    if made.retention is not None and made.score is not None:
        rows += [("retention, %", f"{made.retention:.1f}"), ("score, for sorting only", f"{made.score:.1f}")]
    for at in made.reached:
        value = _NOT_REACHED
        if at.held is not None and at.epochs is not None:
            value = f"{at.held:.1f} held, after {at.epochs:.1f} epochs ({at.seeds} of {len(made.seeds)} seeds)"
        rows.append((f"at {at.level} % of the new facts", value))
    if made.area is not None and made.fall_from_peak is not None:
        rows += [
            ("area under held against new facts, %", f"{made.area:.1f}"),
            ("fall from the run's own peak, points", f"{made.fall_from_peak:.1f}"),
        ]
    leaked = "no wrong answer" if made.leakage is None else f"{made.leakage:.1f}"
    rows += [("wrong answers that were trained ones, %", leaked)]
    before = "" if made.reference_entropy is None else f" (reference {made.reference_entropy:.2f})"
    rows += [("entropy of the answers, bits", f"{made.entropy:.2f}{before}")]
    lines += _table(None, rows)
    if made.transitions:
        lines += ["", "Held-out facts, reference (rows) to this (columns), mean over runs"]
        lines += _table(
            ("", *Outcome),
            [(before, *(f"{after[to]:.1f}" for to in Outcome)) for before, after in made.transitions.items()],
        )
    for name, bins in made.bins.items():
        lines += ["", f"Held-out facts by {name}"]
        lines += _table(
            (name, "items", "correct %", "forgetting", "95 % interval"),
            [
                (
                    one.label,
                    str(one.items),
                    f"{one.correct:.1f}",
                    "" if one.forgetting is None else f"{one.forgetting:.1f}",
                    "" if one.low is None else f"{one.low:.1f} to {one.high:.1f}",
                )
                for one in bins
            ],
        )
    return "\n".join(lines)


def comparison_text(made: Comparison) -> str:
    """A comparison as a table and sentences."""
    lines = [f"{made.first} minus {made.second} on {made.track}, release {made.release[:12]}", ""]
    lines += _table(
        (
            "facts",
            "items",
            "pairs",
            "difference",
            "95 %, over facts",
            "only first",
            "only second",
            "p, checkpoints",
            "p, methods (Holm)" if any(found.methods for found in made.splits.values()) else "p (Holm)",
            "sd of seeds",
        ),
        [
            (
                name,
                str(found.items),
                str(found.pairs),
                f"{found.difference:+.1f}",
                f"{found.low:.1f} to {found.high:.1f}",
                f"{found.lost:.1f}",
                f"{found.gained:.1f}",
                p_text(found.p),
                p_text(made.adjusted[name]),
                _sd(found.seed_sd),
            )
            for name, found in made.splits.items()
        ],
    )
    return "\n".join([*lines, "", *made.words])


def stability_text(made: Stability) -> str:
    """How sure labels are, as tables."""
    lines = [
        f"{made.facts} facts, {made.runs} runs. Two halves of the runs agree on {made.halves:.1f} % of the categories",
        f"(kappa {made.kappa:.2f}). Of what one half calls so, the other half does, too:",
        *(f"  {name:>12}  {_share(share)}" for name, share in made.again.items()),
        "",
    ]
    names = list(made.again)
    lines += _table(
        ("runs", *(f"{name} %" for name in names), *(f"{name} stays %" for name in names)),
        [
            (
                str(at.runs),
                *(f"{at.shares[name]:.1f}" for name in names),
                *(_share(at.stays[name]) for name in names),
            )
            for at in made.at
        ],
    )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def items_text(found: Iterable[Item]) -> str:
    """One line an item."""
    return "\n".join(
        f"{one.fact_id} (seed {one.seed})  {one.question} {one.answer}  |  {one.first_outcome}: {one.first}  |  "
        f"{one.second_outcome}: {one.second}"
        for one in found
    )


def _paired(found: Paired) -> str:
    here = (
        f"(these checkpoints {found.low:.1f} to {found.high:.1f}, p {p_text(found.p)}; sd of seeds {_sd(found.seed_sd)}"
    )
    if found.methods is None:
        return f"{here})"
    return f"{here}; methods {found.methods.low:.1f} to {found.methods.high:.1f}, p {p_text(found.methods.p)})"


def _sd(value: float | None) -> str:
    return "one seed" if value is None else f"{value:.1f}"


def _table(head: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side: the first to the left, the others to the right; without a head all to the left."""
    shown = [head, *rows] if head else list(rows)
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))] if shown else []
    return [
        "  ".join(
            cell.ljust(width) if i == 0 or head is None else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]
