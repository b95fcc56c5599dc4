"""The customers' verbs: what they change, whom they tell, what they refuse."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway.control import appeal_requests, credentials, customers, dkim, domains, tls_rules
from gateway.crypto import credential_key_from_settings, decrypt, secret_matches
from gateway.models import AuditEntry, Credential, DkimKey, Domain, PolicyVersion
from gateway.rules.domain_check import CheckResult, Record
from gateway.sign import public_record
from tests import factories

pytestmark = pytest.mark.django_db
ALICE = "alice@acme.example"
COLONS = "AB:" * 31 + "AB"


def version() -> int:
    row = PolicyVersion.objects.first()
    return row.version if row else 0


def last_entry() -> AuditEntry:
    entry = AuditEntry.objects.first()
    assert entry is not None
    return entry


def fits(credential: Credential, secret: str, *, previous: bool = False) -> bool:
    stored = credential.previous_secret_hash if previous else credential.secret_hash
    return secret_matches(secret, stored, credential_key_from_settings())


# ------------------------------------------------------------------------------------------------ customers


def test_a_change_is_audited_before_and_after_and_moves_the_policy() -> None:
    acme, before = factories.make_customer("acme"), version()
    assert customers.change(acme, actor=ALICE, ndr_enabled=False, language="en") == ["ndr_enabled"]
    entry = last_entry()
    assert (entry.actor, entry.action, entry.customer, entry.detail) == (
        ALICE, "customer.change", acme, {"ndr_enabled": ["True", "False"]},
    )  # fmt: skip
    assert version() == before + 1


def test_a_change_that_changes_nothing_leaves_no_trace() -> None:
    acme, before = factories.make_customer("acme"), version()
    assert customers.change(acme, actor=ALICE, language="en") == []
    assert (AuditEntry.objects.count(), version()) == (0, before)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        customers.change(factories.make_customer("acme"), actor=ALICE, suspended_at=None)


def test_suspending_needs_a_reason_and_is_undone_once() -> None:
    acme = factories.make_customer("acme")
    with pytest.raises(ValidationError):
        customers.suspend(acme, actor="sam", reason=" ")
    assert customers.suspend(acme, actor="sam", reason="Stolen login")
    assert not customers.suspend(acme, actor="sam", reason="Again")
    assert customers.resume(acme, actor="sam")
    assert not customers.resume(acme, actor="sam")


def test_watching_moves_the_policy_only_now_and_then() -> None:
    acme = factories.make_customer("acme")
    customers.watch(acme)
    once = version()
    customers.watch(acme)
    assert version() == once


# ------------------------------------------------------------------------------------------------ domains


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Acme.Example", "acme.example"), ("acme.example.", "acme.example"), ("@acme.example", "acme.example"),
        ("müller.example", "xn--mller-kva.example"), (" acme.example ", "acme.example"),
    ],
)  # fmt: skip
def test_names_are_canonical(text: str, name: str) -> None:
    assert domains.add(factories.make_customer("acme"), text, actor=ALICE).name == name


@pytest.mark.parametrize(
    "text", ["", "acme", "192.0.2.1", "[192.0.2.1]", "a b.example", "x@y@z", "a..example", "-a.example"]
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        domains.add(factories.make_customer("acme"), text, actor=ALICE)


def test_a_domain_belongs_to_whoever_proves_it_first() -> None:
    acme, globex = factories.make_customer("acme"), factories.make_customer("globex")
    mine = domains.add(acme, "shared.example", actor=ALICE)
    theirs = domains.add(globex, "shared.example", actor="charlie")
    assert domains.verify(mine, actor=ALICE)
    with pytest.raises(ValidationError) as refused:
        domains.verify(theirs, actor="charlie")
    assert refused.value.code == "taken"
    assert not Domain.objects.get(pk=theirs.pk).is_verified


def result(state: str, lost_since: datetime | None = None) -> CheckResult:
    record = Record("ownership", "_smg-challenge.acme.example", "TXT", "x", state, lost_since=lost_since)
    return CheckResult({"ownership": record}, "", "good")


def test_a_check_that_finds_the_record_proves_the_domain() -> None:
    domain = factories.make_domain(factories.make_customer("acme"), "acme.example", proven=False)
    assert domains.keep_check(domain, result("good"), now=timezone.now()) == "verified"
    assert domains.keep_check(domain, result("good"), now=timezone.now()) == ""


@pytest.mark.parametrize(
    ("by", "state", "days", "expected"),
    [
        ("dns", "lost", 15, "unverified"), ("dns", "lost", 13, ""), ("dns", "unknown", 0, ""),
        ("sam@smg.example", "lost", 90, ""),
    ],
)  # fmt: skip
def test_the_dns_takes_back_what_it_proved_after_the_grace(
    by: str, state: str, days: int, expected: str
) -> None:
    now = timezone.now()
    domain = factories.make_domain(factories.make_customer("acme"), "acme.example", verified_by=by)
    lost = now - timedelta(days=days) if days else None
    assert domains.keep_check(domain, result(state, lost), now=now) == expected
    assert Domain.objects.get().is_verified == (expected == "")


# ------------------------------------------------------------------------------------------------ logins


def test_a_secret_is_returned_once_and_stored_as_a_hash() -> None:
    credential, secret = credentials.create(factories.make_customer("acme"), actor=ALICE, username="acme-web")
    assert fits(credential, secret)
    assert secret not in str(AuditEntry.objects.values_list("detail", flat=True))
    assert secret not in str(Credential.objects.values())


def test_rotation_keeps_the_old_secret_for_a_while() -> None:
    credential, old = credentials.create(factories.make_customer("acme"), actor=ALICE, username="acme-web")
    new = credentials.rotate(credential, actor=ALICE, overlap_h=24)
    assert fits(credential, new)
    assert fits(credential, old, previous=True)
    assert credential.previous_until is not None
    assert credential.previous_until > timezone.now() + timedelta(hours=23)


def test_rotation_can_end_the_old_secret_at_once() -> None:
    credential, _old = credentials.create(factories.make_customer("acme"), actor=ALICE, username="acme-web")
    credentials.rotate(credential, actor=ALICE, overlap_h=0)
    assert (credential.previous_secret_hash, credential.previous_until) == ("", None)


def test_revoking_ends_both_secrets_for_good() -> None:
    credential, _secret = credentials.create(
        factories.make_customer("acme"), actor=ALICE, username="acme-web"
    )
    credentials.rotate(credential, actor=ALICE)
    assert credentials.revoke(credential, actor=ALICE)
    assert not credentials.revoke(credential, actor=ALICE)
    assert Credential.objects.get().previous_secret_hash == ""
    with pytest.raises(ValidationError):
        credentials.rotate(credential, actor=ALICE)
    assert not credentials.blow_fuse(credential, reason="x")


def test_the_fuse_stops_and_releases() -> None:
    credential = factories.make_credential(factories.make_customer("acme"))
    assert credentials.blow_fuse(credential, reason="20 times the usual")
    assert Credential.objects.get().block == "fuse"
    assert credentials.release_fuse(credential, actor=ALICE)
    assert Credential.objects.get().is_active


@pytest.mark.parametrize(
    "values",
    [
        {"username": "with space"}, {"username": ""}, {"username": "taken"}, {"username": "TAKEN"},
        {"username": "n", "networks": ["10.0.0.0/99"]}, {"username": "n", "senders": ["a@globex.example"]},
        {"username": "n", "senders": ["globex.example"]}, {"username": "n", "secret": "short"},
    ],
)  # fmt: skip
def test_logins_that_cannot_be(values: dict[str, Any]) -> None:
    acme = factories.make_customer("acme")
    factories.make_domain(acme, "acme.example")
    factories.make_credential(acme, "taken")
    with pytest.raises(ValidationError):
        credentials.create(acme, actor=ALICE, **values)
    assert Credential.objects.count() == 1


def test_senders_below_an_own_domain_are_fine() -> None:
    acme = factories.make_customer("acme")
    factories.make_domain(acme, "acme.example")
    credential, _ = credentials.create(acme, actor=ALICE, username="n", senders=["bot@news.acme.example"])
    assert credential.senders == ["bot@news.acme.example"]


# ------------------------------------------------------------------------------------------------ forced TLS


def test_a_rule_is_canonical_and_once_per_pair() -> None:
    acme = factories.make_customer("acme")
    factories.make_domain(acme, "acme.example")
    rule = tls_rules.add(
        acme,
        actor=ALICE,
        sender_domain="ACME.example",
        recipient_domain=".Bank.Example.",
        fingerprint="AB:" * 31 + "AB",
    )
    assert (rule.sender_domain, rule.recipient_domain, rule.fingerprint) == (
        "acme.example",
        ".bank.example",
        "ab" * 32,
    )
    with pytest.raises(ValidationError):
        tls_rules.add(acme, actor=ALICE, sender_domain="acme.example", recipient_domain=".bank.example")


@pytest.mark.parametrize(
    "values",
    [
        {"recipient_domain": "bank"}, {"recipient_domain": ""}, {"recipient_domain": "bank.example", "level": "none"},
        {"recipient_domain": "bank.example", "sender_domain": "globex.example"},
        {"recipient_domain": "bank.example", "fingerprint": "abc"},
    ],
)  # fmt: skip
def test_rules_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tls_rules.add(factories.make_customer("acme"), actor=ALICE, **values)


# ------------------------------------------------------------------------------------------------ DKIM


@pytest.fixture
def domain() -> Domain:
    return factories.make_domain(factories.make_customer("acme"), "acme.example")


def made(domain: Domain) -> DkimKey:
    key = dkim.request(domain, actor=ALICE)
    dkim.approve(key, actor="sam")
    return key


def test_only_proven_domains_get_a_key() -> None:
    domain = factories.make_domain(factories.make_customer("acme"), proven=False)
    with pytest.raises(ValidationError):
        dkim.request(domain, actor=ALICE)


def test_a_second_request_is_the_first(domain: Domain) -> None:
    assert dkim.request(domain, actor=ALICE) == dkim.request(domain, actor=ALICE)


def test_the_private_half_is_encrypted_and_fits_the_record(domain: Domain) -> None:
    key = made(domain)
    assert "PRIVATE" not in key.private_key
    assert public_record(decrypt(key.private_key).encode()) == dkim.record_value(key)
    assert dkim.record_name(key) == "smg1._domainkey.acme.example"


def test_it_signs_only_after_the_dns_showed_the_record(domain: Domain) -> None:
    key = made(domain)
    with pytest.raises(ValidationError):
        dkim.activate(key, actor="system")
    dkim.keep_check(key, problem="missing", now=timezone.now())
    with pytest.raises(ValidationError):
        dkim.activate(key, actor="system")
    dkim.keep_check(key, problem="", now=timezone.now())
    assert dkim.activate(key, actor="system")


def activated(domain: Domain) -> DkimKey:
    key = made(domain)
    dkim.keep_check(key, problem="", now=timezone.now())
    dkim.activate(key, actor="system")
    return key


def test_rotation_overlaps(domain: Domain) -> None:
    first, second = activated(domain), activated(domain)
    states = dict(DkimKey.objects.values_list("selector", "state"))
    assert states == {"smg1": "retiring", "smg2": "active"}
    assert dkim.retire_old(timezone.now() + timedelta(days=11)) == 0
    assert dkim.retire_old(timezone.now() + timedelta(days=13)) == 1
    first.refresh_from_db()
    assert (first.state, first.private_key) == ("revoked", "")
    assert DkimKey.objects.get(pk=second.pk).state == "active"


def test_a_delegated_key_points_into_the_operators_zone(domain: Domain) -> None:
    key = dkim.request(domain, actor=ALICE, kind="cname")
    dkim.approve(key, actor="sam")
    assert dkim.record_value(key) == "smgc1.acme.example.dkim.smtp.smg.example"


def test_declining_needs_a_reason_and_happens_once(domain: Domain) -> None:
    key = dkim.request(domain, actor=ALICE)
    with pytest.raises(ValidationError):
        dkim.decline(key, actor="sam", reason="")
    assert dkim.decline(key, actor="sam", reason="Not your domain")
    assert not dkim.approve(key, actor="sam")


# ------------------------------------------------------------------------------------------------ appeals


def test_an_appeal_names_what_would_have_made_it_good() -> None:
    symbols = [["BASE", 4], ["WORDING", 31], ["SUBJECT", 14], ["MONEY", 9]]
    message = factories.make_message(
        factories.make_customer("acme"), category="suspect", score=58, symbols=symbols
    )
    appeal = appeal_requests.ask(message, actor=ALICE, comment="Our newsletter")
    assert (appeal.flip, appeal.state) == (["WORDING"], "open")
    assert appeal_requests.ask(message, actor=ALICE) == appeal


def test_clean_mail_has_nothing_to_appeal() -> None:
    message = factories.make_message(factories.make_customer("acme"))
    with pytest.raises(ValidationError):
        appeal_requests.ask(message, actor=ALICE)
