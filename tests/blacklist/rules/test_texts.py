"""Drafts, names of lists in replies, and pre-checks."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blacklist.rules.drafts import Facts, draft_request
from blacklist.rules.prechecks import check_generic, check_helo, check_ptr, check_share, check_spf
from blacklist.rules.replies import is_about, named_list
from blacklist.rules.requests import RequestClass

FACTS = Facts(
    list_name="NordSpam IP", labels=("listed",), reason="spam seen", target="192.0.2.10", role="gateway"
)
COMPLETE = replace(
    FACTS, ptr="mta01.smg.example", operator="Example Ltd", contact_mail="abuse@smg.example", phone="+49 30 1",
    cause="A customer's account was taken over", action="the account was stopped", fixed_at=datetime(2026,
    3, 1, 4, 5, tzinfo=UTC),
    per_hour_before=900, per_hour_after=3,
)  # fmt: skip


def test_a_draft_exists_at_once_and_says_what_is_missing():
    draft = draft_request(FACTS, RequestClass.EMAIL, "delist@nordspam.com")
    assert draft.subject == "Removal request: 192.0.2.10 (listed) on NordSpam IP"
    assert draft.where == "delist@nordspam.com"
    assert draft.missing == ("cause", "what was done", "since when", "contact")
    assert "[please complete: cause in one sentence]" in draft.text


def test_a_complete_draft_reads_as_operators_want_it():
    draft = draft_request(COMPLETE, RequestClass.EMAIL, "delist@nordspam.com")
    assert draft.missing == ()
    assert draft.text.splitlines() == [
        'Listing: NordSpam IP (listed) - "spam seen"',
        "Address: 192.0.2.10 (mta01.smg.example), outbound gateway of Example Ltd.",
        "Cause: A customer's account was taken over.",
        "Since 2026-03-01 04:05 UTC: the account was stopped.",
        "Messages before/after: 900/3 per hour.",
        draft.text.splitlines()[5],
        "We are responsible for it and can be reached at abuse@smg.example, +49 30 1.",
        "Please review the listing.",
    ]
    assert "please complete" not in draft.text


def test_forms_get_fields_to_paste():
    draft = draft_request(COMPLETE, RequestClass.FORM, "https://www.barracudacentral.org/rbl/removal-request")
    assert draft.where == "https://www.barracudacentral.org/rbl/removal-request"
    assert dict(draft.fields)["IP address or domain"] == "192.0.2.10"
    assert dict(draft.fields)["Phone"] == "+49 30 1"


def test_the_owner_of_the_network_is_written_to_in_their_language():
    german = draft_request(COMPLETE, RequestClass.PROVIDER_ONLY, "", "de").text
    assert german.startswith("Guten Tag,")
    assert "192.0.2.10" in german


@pytest.mark.parametrize("request_is", list(RequestClass))
def test_no_draft_offers_or_mentions_money(request_is):
    text = draft_request(COMPLETE, request_is, "https://x.example/").text.lower()
    assert not any(word in text for word in ("pay", "express", "fee", "whitelist us"))


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("550 5.7.1 Service unavailable; client [192.0.2.10] blocked using zen.spamhaus.org", "spamhaus-zen"),
        ("554 5.7.0 blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.10", "proofpoint-pdr"),
        ("550 5.7.606 Access denied, banned sending IP [192.0.2.10]", "microsoft"),
        ("550 5.7.1 Unfortunately, messages from [192.0.2.10] weren't sent. S3150", "microsoft"),
        ("554 IP=192.0.2.10 - A problem occurred. Ask your postmaster (NOWL)", "t-online"),
        ("554-kundenserver.de Bad DNS PTR resource record. https://postmaster.gmx.net/", "united-internet"),
        ("550 see http://csi.cloudmark.com/reset-request/", "cloudmark-csi"),
        ("550 listed at bl.own.example", "own"),
        ("550 5.1.1 no such user", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_replies_name_lists(text, slug):
    assert named_list(text, {"bl.own.example": "own", "zen.spamhaus.org": "spamhaus-zen"}) == slug


def test_a_zone_is_found_as_a_whole_name_only():
    assert named_list("see notbl.own.example and bl.own.example-x", {"bl.own.example": "own"}) == ""


@pytest.mark.parametrize(
    ("text", "about"),
    [("blocked 192.0.2.10", True), ("blocked [203.0.113.9]", False), ("blocked", True),
    ("2001:db8::1 blocked", False), ("192.0.2.100 blocked", False)],
)  # fmt: skip
def test_a_reply_about_another_address_is_not_about_ours(text, about):
    assert is_about(text, "192.0.2.10") is about


@given(st.text(max_size=3000))
def test_strangers_texts_never_break_us(text):
    named_list(text, {"bl.own.example": "own"})
    is_about(text, "192.0.2.10")


def test_reverse_dns_must_lead_back():
    assert check_ptr("192.0.2.10", None, {}).ok is None  # not asked is not wrong
    assert check_ptr("192.0.2.10", (), {}).ok is False
    assert check_ptr("192.0.2.10", ("a.example",), {"a.example": ("192.0.2.99",)}).ok is False
    good = check_ptr("192.0.2.10", ("a.example", "b.example"), {"b.example": ("192.0.2.10",)})
    assert (good.ok, good.value) == (True, "b.example")


@pytest.mark.parametrize(
    ("address", "name", "ok"),
    [
        ("192.0.2.10", "mta01.smg.example", True),
        ("192.0.2.10", "192-0-2-10.hoster.example", False),
        ("192.0.2.10", "host-10-2-0-192.hoster.example", False),
        ("192.0.2.10", "dyn.10.hoster.example", False),
        ("192.0.2.10", "pool-7.hoster.example", False),
        ("192.0.2.10", "static.hoster.example", False),
        ("192.0.2.10", "", None),
        ("2001:db8::1", "mta01.smg.example", True),
    ],
)
def test_generic_names(address, name, ok):
    assert check_generic(address, name).ok is ok


def test_helo_spf_and_shares():
    assert check_helo("mta01.smg.example", "MTA01.smg.example.").ok is True
    assert check_helo("mta01.smg.example", "other.example").ok is False
    assert [check_spf("a.example", "192.0.2.1", result).ok for result in ("pass", "fail", "softfail",
    "temperror", "none")] == [
        True, False, False, None, None,
    ]  # fmt: skip
    assert check_share("dkim", 0, 0, "signed", 0.8).ok is None
    assert check_share("dkim", 80, 100, "signed", 0.8).ok is True
    assert check_share("dkim", 79, 100, "signed", 0.8).ok is False
