"""The pages of the documentation: Markdown in, HTML out."""

import base64
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from fthall.errors import FthallError
from fthall.paths import data_dir


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown page of the documentation, rendered."""

    name: str
    title: str
    body: Markup


PLACES = (
    (
        "You fine-tune models",
        "What will it cost in old facts, and which way keeps most?",
        ("finetuning", "why", "bases"),
    ),
    (
        "You have a method",
        "Enter it: one command writes what a pull request needs.",
        ("submit", "training", "reproduce"),
    ),
    (
        "You judge a claim",
        "What is counted, how sure it is, and what a submission proves.",
        ("method", "verify", "paper"),
    ),
    (
        "You look after a track",
        "What a base knows, and the facts it was asked.",
        ("slick", "data-geonames", "data-entityquestions", "data-synthetic"),
    ),
)
"""One place to start for each of four readers: a heading, what it is about, and pages."""


def pages(folder: Path) -> list[Page]:
    """All pages of a folder, by name."""
    return [page(path) for path in sorted(folder.glob("*.md"))]


def page(path: Path) -> Page:
    """Render one Markdown page. Raw HTML is off, and styles go: the pages' security policy would block them.

    Pictures are SVG files of the leaderboard's folder, and go into the page: it is one file.
    """
    if path.stem == "index":
        raise FthallError(f"{path}: index is the leaderboard itself; give the page another name")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FthallError(f"{path} is not readable: {error}") from None
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    title = next((text.content for tag, text in itertools.pairwise(tokens) if (tag.tag, tag.nesting) == ("h1", 1)), "")
    if not title:
        raise FthallError(f"{path} has no '# ' heading; its first one is the page's title")
    for tag, inside in itertools.pairwise(tokens):
        if tag.type == "heading_open":
            tag.attrSet("id", re.sub(r"[^\w -]", "", inside.content.lower()).replace(" ", "-"))  # as GitHub does
    for token in (inner for outer in tokens for inner in (outer, *(outer.children or ()))):
        if align := token.attrs.pop("style", None):
            token.attrSet("class", str(align).removeprefix("text-align:"))
        if token.type == "image":
            token.attrSet("src", _picture(path, str(token.attrGet("src"))))
        if token.type == "link_open" and ":" not in (link := str(token.attrGet("href"))):
            token.attrSet("href", re.sub(r"\.md(?=$|#)", ".html", link))
    body = _accessible(markdown.renderer.render(tokens, markdown.options, {}))
    return Page(path.stem, title.replace("`", ""), Markup(body))  # noqa: S704


def _accessible(html: str) -> str:
    """Heads say of what, and what is wider than the window scrolls, by keyboard, too; what was written is escaped."""
    count = itertools.count(1)
    scroll = '<div class="scroll" role="region" tabindex="0" aria-label="Table {}">\n<table>'
    html = re.sub("<table>", lambda _: scroll.format(next(count)), html)
    html = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", html)  # over the names of rows: it heads nothing
    html = re.sub(r"<th(?=[ >])", '<th scope="col"', html)
    return html.replace("</table>", "</table>\n</div>").replace("<pre>", '<pre tabindex="0">')


def _picture(page: Path, source: str) -> str:
    """A picture as a data address."""
    file = (page.parent / source).resolve()
    if file.suffix != ".svg" or not file.is_relative_to(data_dir("leaderboard").resolve()) or not file.is_file():
        raise FthallError(f"{page}: no picture {source}; a page shows .svg files that lie in {data_dir('leaderboard')}")
    return f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"
