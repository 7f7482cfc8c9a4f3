"""What was found of a pull request: a record that may come from a stranger's job, and its text as harmless Markdown."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator

from fthall.errors import FthallError
from fthall.files import read_json
from fthall.records import Split
from fthall.schema import Strict, parse, readable, shown

SCHEMA: Final = 1
MARKER = "<!-- fthall-review -->"
"""First line of the comment: by it the next review finds the comment to replace."""
MAX_REPORT_BYTES = 256 * 1024
MAX_LINE = 700
MAX_LINES = 20
MAX_ODD = 5
MAX_FOLDERS = 20
MAX_COMMENT = 60_000
"""Characters; GitHub takes 65,536."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_Line = Annotated[str, Field(min_length=1, max_length=MAX_LINE), AfterValidator(readable)]
_Lines = Annotated[list[_Line], Field(max_length=MAX_LINES)]
_Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=True)]


class Reviewed(Strict):
    """A submission that passed every check."""

    folder: Annotated[str, Field(pattern=rf"^submissions/{_NAME}/{_NAME}/{_NAME}$"), AfterValidator(readable)]
    accuracy: Annotated[dict[Split, _Percent], Field(min_length=len(Split))]
    """Exact match on each split."""
    evidenced: StrictBool
    """Whether its trajectory was counted again, item by item."""
    odd: Annotated[list[_Line], Field(max_length=MAX_ODD)] = Field(default_factory=list)
    """What is allowed and yet worth a look by a person; :func:`lines` makes such a list."""


class Report(Strict):
    """What a pull request brings, and why it is refused if it is."""

    schema_: Literal[1] = Field(alias="schema")
    accepted: StrictBool
    track: Annotated[str, Field(pattern=rf"^{_NAME}/{_NAME}$"), AfterValidator(readable)] | None = None
    """``<source>/<base>``; none where it is not one track's."""
    entry: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$"), AfterValidator(readable)] | None = None
    """The entry whose seeds are handed in; none where it is not one."""
    submissions: Annotated[list[Reviewed], Field(max_length=MAX_FOLDERS)] = Field(default_factory=list)
    """Those that passed; the pull request may be refused all the same."""
    refused: _Lines = Field(default_factory=list)
    """A line a reason."""
    notes: _Lines = Field(default_factory=list)
    """A line each: what is allowed and ought to be known."""

    @model_validator(mode="after")
    def _agrees(self) -> "Report":
        whole = bool(self.submissions and self.track and self.entry)
        if self.accepted and (self.refused or not whole):
            raise ValueError("accepted, but it gives reasons against it or no submission")
        if not (self.accepted or self.refused):
            raise ValueError("refused, but it gives no reason")
        return self


def read_report(path: Path) -> Report:
    """Read a report, as data of unknown origin.

    Raises:
        FthallError: no plain file of at most 256 KiB, not JSON, or not a report.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise FthallError(f"{path} is not a plain file; give the report that fthall review --out wrote")
    if path.exists() and path.stat().st_size > MAX_REPORT_BYTES:
        raise FthallError(f"{path} is larger than {MAX_REPORT_BYTES // 1024} KiB; no report is")
    return parse(Report, read_json(path), path)


def lines(found: list[str], most: int = MAX_LINES) -> list[str]:
    """Each as one line that can be seen and is not too long, no line twice; what is more than ``most``, as a count."""
    short = list(dict.fromkeys(_cut(shown(one)) for one in found))
    return short if len(short) <= most else [*short[: most - 1], f"and {len(short) - most + 1} more"]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


def comment(report: Report) -> str:
    """The text for the pull request, at most 60,000 characters of Markdown.

    Whatever comes from the report stands in code spans, where neither links nor names of people nor tags are read.
    """
    told = [MARKER, f"### Submission {'accepted by the check' if report.accepted else 'refused'}", ""]
    if report.track and report.entry:
        told += [f"Entry {_code(report.entry)} on track {_code(report.track)}.", ""]
    if report.refused:
        told += ["**Why**", "", *(f"- {_code(line)}" for line in report.refused), ""]
    if report.submissions:
        told += [f"| submission | {' | '.join(Split)} | trajectory |", f"|---|{'---:|' * len(Split)}---|"]
        told += [_row(one) for one in report.submissions]
        told += ["", "Exact match in percent, recomputed from the answers.", ""]
    if odd := [f"- {_code(one.folder)}: {_code(line)}" for one in report.submissions for line in one.odd]:
        told += ["**Worth a look**", "", *odd, ""]
    if report.notes:
        told += ["**Notes**", "", *(f"- {_code(line)}" for line in report.notes), ""]
    if report.accepted:
        told.append("The answers give the counts that are claimed. How the model came by them the check cannot see;")
        told.append("a maintainer looks at it before it is merged.")
    else:
        told.append(
            "Push a change to this branch and it is checked again. On your machine, `fthall review --since main`."
        )
    return _whole(told)


def _row(one: Reviewed) -> str:
    cells = [_code(one.folder), *(f"{one.accuracy[split]:.1f}" for split in Split)]
    return f"| {' | '.join([*cells, 'counted again' if one.evidenced else 'none, or not evidenced'])} |"


def _code(text: str) -> str:
    """A code span; the one thing that could end it, and the one that could end a cell, become what resembles them."""
    return f"`{text.replace('`', chr(0x2019)).replace('|', chr(0xA6))}`"


def _whole(told: list[str]) -> str:
    """All lines, or as many as fit, never half a one: a code span must end."""
    rest = "…and more, see the log of the check."
    room = MAX_COMMENT - len(rest) - 2
    kept: list[str] = []
    for line in told:
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*kept, "", rest]) + "\n"
        kept.append(line)
    return "\n".join(kept) + "\n"
