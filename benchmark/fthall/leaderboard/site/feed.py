"""What other programs read of the site: a feed of what came in, and a site map."""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as XML

from fthall.leaderboard.board import Board, number
from fthall.leaderboard.entries import page_name
from fthall.records import Split

LATEST = 50
"""Entries in the feed."""
_ATOM = "http://www.w3.org/2005/Atom"
_SITE_MAP = "http://www.sitemaps.org/schemas/sitemap/0.9"


def atom(boards: Sequence[Board], ids: Sequence[str], url: str | None) -> str:
    """The latest entries of all tracks as an Atom feed (RFC 4287), the newest first.

    Args:
        boards: the tracks.
        ids: their names in addresses.
        url: where the site will be; without it, links are relative to the feed.
    """
    found = [(board, name, entry) for board, name in zip(boards, ids, strict=True) for entry in board.entries]
    found.sort(key=lambda row: (row[1], row[2].slug))
    found.sort(key=lambda row: row[2].created, reverse=True)
    place = f"{url}/" if url else ""
    feed = XML.Element("feed", xmlns=_ATOM)
    _add(feed, "title", "fthall: what did this fine-tuning make the model forget?")
    _add(feed, "id", f"{place}feed.xml" if url else "urn:fthall:feed")
    _add(feed, "updated", _midnight(found[0][2].created.isoformat() if found else "1970-01-01"))
    _add(feed, "author", "name", text="fthall")
    XML.SubElement(feed, "link", rel="self", type="application/atom+xml", href=f"{place}feed.xml")
    XML.SubElement(feed, "link", rel="alternate", type="text/html", href=f"{place}index.html")
    for board, name, entry in found[:LATEST]:
        one = XML.SubElement(feed, "entry")
        _add(one, "title", f"{entry.title} · {board.release.track}")
        _add(one, "id", f"urn:fthall:{name}:{entry.slug}")
        _add(one, "updated", _midnight(entry.created.isoformat()))
        XML.SubElement(
            one, "link", rel="alternate", type="text/html", href=f"{place}{page_name(name, entry.slug)}.html"
        )
        lost = f", {number(entry.forgetting.mean)} points of old facts forgotten" if entry.forgetting else ""
        learned = number(entry.accuracy[Split.UNKNOWN].mean)
        seeds = f"{len(entry.seeds)} seed{'s' if entry.several else ''}"
        _add(one, "summary", f"{learned} % of the new facts learned{lost}; {seeds}, {entry.tier}.")
    return _text(feed)


def site_map(names: Iterable[str], url: str) -> str:
    """The pages' addresses (sitemaps.org)."""
    root = XML.Element("urlset", xmlns=_SITE_MAP)
    for name in sorted(name for name in names if name.endswith(".html") and name != "404.html"):
        _add(root, "url", "loc", text=f"{url}/{'' if name == 'index.html' else name}")
    return _text(root)


def _add(parent: XML.Element, tag: str, *more: str, text: str | None = None) -> None:
    """An element with a text; with ``text``, the rest are elements inside each other."""
    tags = (tag, *more) if text is not None else (tag,)
    for name in tags:
        parent = XML.SubElement(parent, name)
    parent.text = text if text is not None else more[0]


def _midnight(day: str) -> str:
    return f"{day}T00:00:00Z"


def _text(root: XML.Element) -> str:
    XML.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + XML.tostring(root, encoding="unicode") + "\n"
