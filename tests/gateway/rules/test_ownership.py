"""Nobody sends in another's name: MAIL FROM and every author header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.ownership import check_authors, check_sender
from gateway.rules.policy import CredentialPolicy, Snapshot
from gateway.rules.types import Address

ACME, GLOBEX = 1, 2
SNAPSHOT = Snapshot(domains={"acme.example": ACME, "globex.example": GLOBEX, "eu.acme.example": GLOBEX})


def login(*senders: str) -> CredentialPolicy:
    return CredentialPolicy(1, ACME, "web", "", senders=senders)


@pytest.mark.parametrize(
    ("sender", "senders", "reason"),
    [
        ("web@acme.example", (), None),
        ("web@sub.acme.example", (), None),
        ("web@eu.acme.example", (), "not_owner"),  # proven by another customer: the closest owner wins
        ("web@globex.example", (), "not_owner"),
        ("web@example", (), "not_owner"),
        ("web@notacme.example", (), "not_owner"),
        ("web@acme.example", ("web@acme.example",), None),
        ("Web@acme.example", ("web@acme.example",), None),
        ("shop@acme.example", ("web@acme.example",), "not_allowed_sender"),
        ("shop@news.acme.example", ("news.acme.example",), None),
        ("shop@acme.example", ("news.acme.example",), "not_allowed_sender"),
    ],
)
def test_mail_from(sender: str, senders: tuple[str, ...], reason: str | None) -> None:
    local, _, domain = sender.partition("@")
    refused = check_sender(SNAPSHOT, ACME, login(*senders), Address(local, domain))
    assert (refused and refused.reason) == reason


@pytest.mark.parametrize(
    ("headers", "reason", "author"),
    [
        ({"from": [b"Alice <alice@acme.example>"]}, None, "alice@acme.example"),
        ({"from": [b'"boss@globex.example" <alice@acme.example>']}, None, "alice@acme.example"),
        ({"from": []}, "no_from", ""),
        ({"from": [b"alice@acme.example", b"alice@acme.example"]}, "no_from", ""),
        ({"from": [b"alice@acme.example, boss@globex.example"]}, "no_from", ""),
        ({"from": [b"boss@globex.example"]}, "from_not_owner", ""),
        ({"from": [b"Alice"]}, "bad_author", ""),
        (
            {"from": [b"alice@acme.example"], "sender": [b"boss@globex.example"]},
            "from_not_owner",
            "alice@acme.example",
        ),
        (
            {"from": [b"alice@acme.example"], "resent-from": [b"x@globex.example"]},
            "from_not_owner",
            "alice@acme.example",
        ),
        ({"from": [b"alice@acme.example"], "sender": [b"web@acme.example"]}, None, "alice@acme.example"),
    ],
)
def test_author_headers(headers: dict[str, list[bytes]], reason: str | None, author: str) -> None:
    refused, found = check_authors(SNAPSHOT, ACME, None, headers)
    assert ((refused and refused.reason), found) == (reason, author)


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_whatever_stands_in_from_only_the_owners_address_passes(values: list[bytes]) -> None:
    refused, author = check_authors(SNAPSHOT, ACME, None, {"from": values})
    assert refused is not None or author.rpartition("@")[2].endswith("acme.example")
