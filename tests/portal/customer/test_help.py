"""Help, and the mail catcher of the demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from portal.customer.help import PAGES
from tests.factories import Cast
from tests.portal.customer.helpers import Browser, text_of


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_manual_opens(name: str, alice: Client) -> None:
    text = text_of(alice, "help_page", name)
    assert '<article class="card prose"><' in text
    assert "<p>" in text


@pytest.mark.parametrize(
    "path",
    ["/help/nothing/", "/help/img/..%2f..%2fREADME.png", "/help/img/nothing.png", "/help/../manage.py/"],
)
def test_help_opens_nothing_else(path: str, alice: Client) -> None:
    assert alice.get(path).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "title"),
    [
        ("550 5.1.1 User unknown", "The recipient does not exist"), ("5.1.1", "The recipient does not exist"),
        ("451 Ratelimit reached", "Your sending limit for this minute is used up"), ("mailbox is full", "full"),
    ],
)  # fmt: skip
def test_codes_are_looked_up(wanted: str, title: str, alice: Client) -> None:
    assert title in text_of(alice, "help_codes", q=wanted)


@pytest.fixture
def sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo's sink with one mail."""
    from dataclasses import replace

    monkeypatch.setattr(settings, "SMG", replace(settings.SMG, demo=True, var_dir=tmp_path))
    folder = tmp_path / "demo" / "sink"
    folder.mkdir(parents=True)
    raw = b"DKIM-Signature: v=1; d=acme.example;\r\n\tb=x\r\nSubject: <b>Hi</b>\r\n\r\n<script>alert(1)</script>"
    (folder / "20261124-1.eml").write_bytes(raw)
    about = {
        "received_at": "2026-11-24T08:00:00+00:00",
        "sender": "a@b.example",
        "recipients": ["c@d.example"],
        "tls": True,
    }
    (folder / "20261124-1.json").write_text(json.dumps(about))
    (folder / "20261124-2.json").write_text("half writ")
    return folder


def test_support_reads_caught_mail_as_text(sink: Path, cast: Cast, browser_of: Browser) -> None:
    sam = browser_of(cast.sam)
    assert "&lt;b&gt;Hi&lt;/b&gt;" in text_of(sam, "mail_catcher")
    text = text_of(sam, "mail_caught", "20261124-1")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "v=1; d=acme.example; b=x" in text
    raw = sam.get(reverse("mail_caught_raw", args=["20261124-1"]))
    assert "attachment" in raw["Content-Disposition"]


@pytest.mark.parametrize("name", ["20261124-2", "nothing", "..", "a/b"])
def test_other_files_are_not_there(name: str, sink: Path, cast: Cast, browser_of: Browser) -> None:
    assert browser_of(cast.sam).get(f"/caught/{name}/").status_code == 404


def test_customers_do_not_see_caught_mail(sink: Path, alice: Client) -> None:
    assert alice.get(reverse("mail_catcher")).status_code == 404


def test_without_the_demo_there_is_no_catcher(cast: Cast, browser_of: Browser) -> None:
    assert browser_of(cast.sam).get(reverse("mail_catcher")).status_code == 404
