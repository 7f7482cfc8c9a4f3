"""Templates in, pages out, each with a policy that lets in nothing but its own styles and scripts."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fthall.leaderboard import board
from fthall.leaderboard.charts import colour, mark, shape
from fthall.paths import data_dir

MARK = '<meta name="generator" content="fthall">'
"""On every page: what has it is a site of ours."""


@dataclass(frozen=True, slots=True)
class Templates:
    """What fills pages: made once a site, since a template takes longer to read than to fill."""

    environment: Environment
    assets: dict[str, str]
    """Of the leaderboard's folder ``static``."""

    def fill(
        self,
        template: str,
        *,
        scripts: Sequence[str] = (),
        styles: Sequence[str] = ("style.css",),
        loads: bool = False,
        **values: Any,
    ) -> str:
        """A page.

        Args:
            template: its file.
            scripts: inlined, and allowed by their hash alone.
            styles: likewise.
            loads: whether its scripts may load others, which lie beside the page, when the reader asks for it.
            values: what the template asks for.
        """
        css, js = ("\n".join(self.assets[name] for name in names) for names in (styles, scripts))
        allowed = _hash(js) if js else "'none'"
        if loads:
            allowed += " 'strict-dynamic'"
        policy = (
            f"default-src 'none'; style-src {_hash(css)}; script-src {allowed}; img-src data:; base-uri 'none'; "
            "form-action 'none'"
        )
        # Nothing of a submission's is marked as safe.
        ours = {"generator": MARK, "policy": policy, "css": css, "js": js}
        safe = {name: Markup(text) for name, text in ours.items()}  # noqa: S704
        return _lean(self.environment.get_template(template).render(**safe, **values))


def templates() -> Templates:
    """Those of the leaderboard's folder."""
    folder = data_dir("leaderboard")
    made = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"num": board.number, "colour": colour, "mark": mark, "shape": shape}
    files = sorted([*(folder / "static").glob("*.css"), *(folder / "static").glob("*.js")])
    return Templates(made, {file.name: file.read_text(encoding="utf-8") for file in files})


def _lean(html: str) -> str:
    """Without the indentation of the templates, which is a fifth of a long table; texts in ``pre`` keep theirs."""
    parts = re.split(r"(<(pre|script|style)\b.*?</\2>)", html, flags=re.DOTALL)
    kept = [part if at % 3 == 1 else re.sub(r"\s*\n\s*", "\n", part) for at, part in enumerate(parts) if at % 3 != 2]
    return "".join(kept)


def _hash(text: str) -> str:
    """A source of a content security policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
