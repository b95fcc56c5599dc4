"""What a reader of an HTML part sees, and how the part is built: one linear pass, no tree.

All patterns are possessive or bounded: hostile markup ("<<<<", a tag that never ends, 10,000 open comments) costs
no more than its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

MAX_HTML_CHARS = 48_000
MAX_TAGS = 4_000
MAX_LINKS = 200

_TAG = re.compile(r"<(/?)([a-zA-Z!?][a-zA-Z0-9:]{0,20}+)([^<>]*+)>")
_TARGET = re.compile(
    r"""(?:href|src|action|background)\s{0,5}=\s{0,5}["']?([^"'\s>]{1,2000}+)""", re.IGNORECASE
)
_SKIPPED = re.compile(r"<(!--|(?:style|script|title)\b)", re.IGNORECASE)
_CLOSING = {
    "!--": re.compile("-->"),
    "style": re.compile(r"</style[^>]{0,20}+>?", re.IGNORECASE),
    "script": re.compile(r"</script[^>]{0,20}+>?", re.IGNORECASE),
    "title": re.compile(r"</title[^>]{0,20}+>?", re.IGNORECASE),
}
_HIDDEN = re.compile(
    r"display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden|font-size\s{0,3}:\s{0,3}[01](?:px|pt)?\s{0,3}[;\"']|"
    r"opacity\s{0,3}:\s{0,3}0\s{0,3}[;\"']|mso-hide",
    re.IGNORECASE,
)
_BLOCK = frozenset(
    "p br div tr td th li ul ol table h1 h2 h3 h4 h5 h6 hr blockquote center body section".split()
)
_LINKING = frozenset(
    ("a", "img", "area", "form", "iframe", "table", "td", "body", "link", "script", "input", "v:fill")
)


@dataclass(slots=True)
class Link:
    """A target with the tag that names it; `text` is what the reader sees (only for `a`)."""

    tag: str
    target: str
    text: str = ""


@dataclass(slots=True)
class Page:
    """An HTML part taken apart: visible text, tag counts (lower case), links, attribute text of all tags."""

    text: str = ""
    tags: dict[str, int] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    title: str = ""
    attributes: str = ""
    hidden: int = 0
    length: int = 0


def read_html(source: str) -> Page:
    """Take `source` apart; the first MAX_HTML_CHARS characters count."""
    page = Page(length=min(len(source), MAX_HTML_CHARS))
    pieces = _TAG.split(_without_skipped(source[:MAX_HTML_CHARS], page), MAX_TAGS)
    texts = [pieces[0]]
    attributes: list[str] = []
    anchor: Link | None = None
    anchor_from = 0
    for slash, spelled, attribute, text in zip(
        pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4], strict=True
    ):
        name = spelled.lower()
        if slash:
            if name == "a" and anchor is not None:
                anchor.text = unescape("".join(texts[anchor_from:]))[:200].strip()
                anchor = None
        else:
            page.tags[name] = page.tags.get(name, 0) + 1
            if attribute:
                attributes.append(attribute)
                link = _link(name, attribute) if name in _LINKING else None
                if link is not None and len(page.links) < MAX_LINKS:
                    page.links.append(link)
                    if name == "a":
                        anchor, anchor_from = link, len(texts)
        if name in _BLOCK:
            texts.append("\n")
        texts.append(text)
    page.attributes = " ".join(attributes)
    page.hidden = len(_HIDDEN.findall(page.attributes))
    page.text = unescape("".join(texts))
    return page


def _link(name: str, attribute: str) -> Link | None:
    target = _TARGET.search(attribute)
    return Link(name, unescape(target.group(1))) if target else None


def _without_skipped(source: str, page: Page) -> str:
    """Cut out comments, styles, scripts and the title; one that is never closed swallows the rest, as in a browser."""
    kept: list[str] = []
    at = 0
    while (opening := _SKIPPED.search(source, at)) is not None:
        kept.append(source[at : opening.start()])
        kind = opening.group(1).lower()
        page.tags[kind] = page.tags.get(kind, 0) + 1
        closing = _CLOSING[kind].search(source, opening.end())
        if closing is None:
            return "".join(kept)
        if kind == "title":
            page.title = unescape(source[opening.end() : closing.start()].partition(">")[2])[:200]
        at = closing.end()
    kept.append(source[at:])
    return "".join(kept)
