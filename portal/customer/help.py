"""The manual (docs/manual, one file per page and language) and the dictionary of SMTP replies."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import markdown  # type: ignore[import-untyped]
from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from portal.access import page
from portal.customer.reply_words import Meaning, all_meanings, meaning_of

MANUAL = settings.BASE_DIR / "docs" / "manual"
IMAGES = settings.BASE_DIR / "docs" / "img"
PAGES = ("start", "servers", "dns", "messages", "spam", "tls", "logins", "team", "api")
NAME = re.compile(r"^[a-z0-9-]+$")
LINE = re.compile(r"^\s*(\d{3})?[ -]?(\d\.\d{1,3}\.\d{1,3})?\s*(.*)$", re.DOTALL)


@page("GET")
def help_index(request: HttpRequest) -> HttpResponse:
    titles = [(name, title_of(manual_file(name))) for name in PAGES]
    return render(request, "customer/help.html", {"titles": titles})


@page("GET")
def help_page(request: HttpRequest, name: str) -> HttpResponse:
    if name not in PAGES:
        raise Http404
    file = manual_file(name)
    context = {
        "title": title_of(file),
        "content": render_manual(file),
        "titles": [(one, title_of(manual_file(one))) for one in PAGES],
        "name": name,
    }
    return render(request, "customer/help_page.html", context)


@page("GET")
def help_image(request: HttpRequest, name: str) -> HttpResponseBase:
    """A screenshot of the manual."""
    file = IMAGES / f"{name}.png"
    if not NAME.match(name) or not file.is_file():
        raise Http404
    return FileResponse(file.open("rb"), content_type="image/png")


@page("GET")
def help_codes(request: HttpRequest) -> HttpResponse:
    """The dictionary; `q` is a code, a whole reply to look up, or words."""
    wanted = request.GET.get("q", "").strip()[:500]
    direct = look_up(wanted) if wanted[:1].isdigit() else None
    words = "" if direct else wanted.lower()
    entries = [
        (entry, meaning)
        for entry, meaning in all_meanings()
        if words in f"{meaning.title} {meaning.meaning} {entry.key}".lower()
    ]
    return render(request, "customer/help_codes.html", {"q": wanted, "direct": direct, "entries": entries})


def look_up(reply: str) -> Meaning | None:
    """'550 5.1.1 User unknown', '5.7.26' or '452' -> what it means."""
    bare = re.match(r"^\d\.\d{1,3}\.\d{1,3}$", reply)
    if bare:
        return meaning_of(int(reply[0]) * 100 + 50, reply, "")
    found = LINE.match(reply)
    if not found or not found.group(1):
        return None
    return meaning_of(int(found.group(1)), found.group(2) or "", found.group(3))


def manual_file(name: str) -> Path:
    """The page in the reader's language, English where it is not translated."""
    translated = MANUAL / (get_language() or "en")[:2] / f"{name}.md"
    return translated if translated.is_file() else MANUAL / "en" / f"{name}.md"


def title_of(file: Path) -> str:
    """The first heading."""
    return _read(file, file.stat().st_mtime)[0]


def render_manual(file: Path) -> SafeString:
    return _read(file, file.stat().st_mtime)[1]


@lru_cache(maxsize=64)
def _read(file: Path, changed_at: float) -> tuple[str, SafeString]:
    text = file.read_text(encoding="utf-8")
    title, _, rest = text.partition("\n")
    html = markdown.markdown(rest, extensions=["tables", "fenced_code"])
    return title.lstrip("# ").strip(), mark_safe(html)  # noqa: S308 - our own files
