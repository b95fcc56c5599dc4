"""The demo's mail catcher: what arrived at the sink, for support. Everything is shown as text, nothing is executed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from portal.access import page

NAME = re.compile(r"^[0-9A-Za-z-]{1,60}$")
SHOWN = 100
SHOWN_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Caught:
    name: str
    at: datetime | None
    sender: str
    recipients: list[str]
    subject: str
    signed: bool
    helo: str
    encrypted: bool


@page("GET")
def caught_list(request: HttpRequest) -> HttpResponse:
    folder = _folder(request)
    files = sorted(folder.glob("*.json"), reverse=True)[:SHOWN] if folder.is_dir() else []
    return render(
        request,
        "customer/caught.html",
        {"mails": [mail for file in files if (mail := read(file.stem, folder))]},
    )


@page("GET")
def caught_mail(request: HttpRequest, name: str) -> HttpResponse:
    folder = _folder(request)
    mail = read(name, folder) if NAME.match(name) else None
    if mail is None:
        raise Http404
    raw = (folder / f"{name}.eml").read_bytes()[:SHOWN_BYTES]
    head, _, body = raw.replace(b"\r\n", b"\n").decode("utf-8", "replace").partition("\n\n")
    return render(
        request, "customer/caught_mail.html", {"mail": mail, "fields": unfolded(head), "body": body}
    )


@page("GET")
def caught_raw(request: HttpRequest, name: str) -> HttpResponseBase:
    """The octets, as a download."""
    folder = _folder(request)
    file = folder / f"{name}.eml"
    if not NAME.match(name) or not file.is_file():
        raise Http404
    return FileResponse(
        file.open("rb"), as_attachment=True, filename=file.name, content_type="application/octet-stream"
    )


def read(name: str, folder: Path) -> Caught | None:
    """One caught mail; None when its two files are not both there (it is being written, or was cleared away)."""
    try:
        about: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        with (folder / f"{name}.eml").open("rb") as file:
            head = BytesHeaderParser(policy=policy.compat32).parsebytes(file.read(64_000))
    except (OSError, ValueError):
        return None
    return Caught(
        name=name,
        at=datetime.fromisoformat(about["received_at"]),
        sender=str(about.get("sender") or ""),
        recipients=[str(one) for one in about.get("recipients", [])],
        subject=str(head.get("Subject", "")),
        signed="DKIM-Signature" in head,
        helo=str(about.get("helo") or ""),
        encrypted=bool(about.get("tls")),
    )


def unfolded(head: str) -> list[tuple[str, str]]:
    """(name, value) of each header field, continuation lines joined."""
    lines = re.sub(r"\n[ \t]+", " ", head).split("\n")
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines) if name]


def _folder(request: HttpRequest) -> Path:
    """404 for everybody but support, and outside of the demo."""
    if not settings.SMG.demo or not request.user.is_staff:
        raise Http404
    return Path(settings.SMG.var_dir) / "demo" / "sink"
