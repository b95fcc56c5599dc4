"""Domains, logins, set-up, forced TLS, the dry run, refusals, reports, help, the mail catcher: what each page does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway.control import credentials, dkim, domain_checks
from gateway.models import Credential, Customer, DkimKey, Domain, SetupEvent, Suppression, TlsRule
from gateway.tls import preflight
from portal import tls_tests
from portal.customer import statistics as statistics_page
from portal.customer.client_configs import CLIENTS
from portal.customer.help import PAGES
from portal.models import TlsTest
from tests import factories
from tests.factories import Cast

Zone = dict[str, dict[str, list[str]]]
Browser = Callable[[Any], Client]


def text_of(browser: Client, name: str, *args: Any, **query: Any) -> str:
    return browser.get(reverse(name, args=args), query).content.decode()


# ------------------------------------------------------------------------------------------------ domains


def test_a_domain_is_added_checked_and_proven(alice: Client, public_dns: Zone) -> None:
    response = alice.post(reverse("domain_add"), {"name": "ACME.example"})
    assert response["Location"] == reverse("domain", args=["acme.example"])
    domain = Domain.objects.get()
    text = text_of(alice, "domain", "acme.example")
    assert domain.challenge in text
    assert "v=spf1 a:spf.smtp.smg.example ~all" in text
    assert "not accepted yet" in text
    public_dns["_smg-challenge.acme.example"] = {"TXT": [f'"{domain.challenge}"']}
    Domain.objects.update(checked_at=timezone.now() - timedelta(minutes=1))
    assert (
        "is proven"
        in alice.post(reverse("domain_check", args=["acme.example"]), follow=True).content.decode()
    )


def test_checking_again_at_once_is_not_a_hammer(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.acme, "acme.example", checked_at=timezone.now())
    assert (
        "a moment ago"
        in alice.post(reverse("domain_check", args=["acme.example"]), follow=True).content.decode()
    )


@pytest.mark.parametrize("name", ["", "nonsense", "a b.example", "<script>.example"])
def test_what_is_no_domain_is_said_at_the_field(name: str, alice: Client) -> None:
    response = alice.post(reverse("domain_add"), {"name": name})
    assert (response.status_code, b'id="id_name_error"' in response.content) == (400, True)


def test_a_domain_that_another_customer_has_proven(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.globex, "shared.example")
    domain = factories.make_domain(cast.acme, "shared.example", proven=False)
    public_dns["_smg-challenge.shared.example"] = {"TXT": [f'"{domain.challenge}"']}
    page = alice.post(reverse("domain_check", args=["shared.example"]), follow=True).content.decode()
    assert "Another customer has proven this domain" in page
    assert "Globex" not in page


def test_dkim_from_wish_to_signing(alice: Client, cast: Cast, public_dns: Zone) -> None:
    factories.make_domain(cast.acme, "acme.example")
    alice.post(reverse("dkim_request", args=["acme.example"]), {"kind": "txt", "note": "Newsletters"})
    key = DkimKey.objects.get()
    assert (key.state, key.note, key.requested_by) == ("requested", "Newsletters", "alice@acme.example")
    dkim.approve(key, actor="sam")
    domain_checks.check(Domain.objects.get())
    text = text_of(alice, "domain", "acme.example")
    assert dkim.record_value(key) in text
    assert "Waiting for the DNS record" in text
    assert "PRIVATE" not in text
    value = dkim.record_value(key)
    public_dns[dkim.record_name(key)] = {"TXT": [f'"{value[:200]}" "{value[200:]}"']}
    domain_checks.check(Domain.objects.get())
    assert "Signing" in text_of(alice, "domain", "acme.example")


def test_removing_a_domain_asks_first(alice: Client, cast: Cast) -> None:
    factories.make_domain(cast.acme, "acme.example")
    assert "Remove acme.example?" in text_of(alice, "domain_remove", "acme.example")
    alice.post(reverse("domain_remove", args=["acme.example"]))
    assert not Domain.objects.exists()


# ------------------------------------------------------------------------------------------------ logins


def test_a_secret_is_shown_once_and_nowhere_else(alice: Client, cast: Cast) -> None:
    response = alice.post(reverse("credential_add"), {"username": "acme-web", "label": "Shop"})
    secret = response.context["secret"]
    assert secret in response.content.decode()
    pk = Credential.objects.get().pk
    later = [
        text_of(alice, "access"),
        text_of(alice, "credential", pk),
        text_of(alice, "activity"),
        text_of(alice, "setup"),
    ]
    assert not any(secret in text for text in later)
    assert "no-store" in response["Cache-Control"]


def test_the_configurations_are_filled_in(alice: Client, cast: Cast) -> None:
    factories.make_domain(cast.acme, "acme.example")
    factories.make_domain(cast.acme, "not-yet.example", proven=False)
    response = alice.post(reverse("credential_add"), {"username": "acme-web"})
    configs = {config.key: config.text for config in response.context["configs"]}
    assert set(configs) == {key for key, _name in CLIENTS}
    assert all(
        "acme-web" in text and response.context["secret"] in text
        for text in configs.values()
        if "Microsoft" not in text
    )
    assert "you@acme.example" in configs["python"]
    compile(configs["python"], "config", "exec")


def test_rotating_shows_the_new_secret_and_until_when_the_old_one_works(alice: Client, cast: Cast) -> None:
    credential, old = credentials.create(cast.acme, actor="alice", username="acme-web")
    response = alice.post(reverse("credential_rotate", args=[credential.pk]), {"overlap_h": "72"})
    assert response.context["secret"] != old
    assert "valid until" in response.content.decode()


@pytest.mark.parametrize(
    "data",
    [
        {"username": ""}, {"username": "with space"}, {"username": "n", "networks": "10.0.0.0/99"},
        {"username": "n", "senders": "a@b.example"},
    ],
)  # fmt: skip
def test_logins_that_cannot_be_are_said_at_the_field(data: dict[str, str], alice: Client) -> None:
    response = alice.post(reverse("credential_add"), data)
    assert (response.status_code, b"errorlist" in response.content) == (400, True)
    assert not Credential.objects.exists()


def test_a_stopped_login_says_why_and_can_be_released(alice: Client, cast: Cast) -> None:
    credential = factories.make_credential(cast.acme)
    credentials.blow_fuse(credential, reason="40 times the usual volume")
    assert "40 times the usual volume" in text_of(alice, "credential", credential.pk)
    alice.post(reverse("credential_release", args=[credential.pk]))
    assert Credential.objects.get().is_active


# ------------------------------------------------------------------------------------------------ set-up


def note(cast: Cast, stage: str, reply: str = "", session: str = "s1", message: int | None = None) -> None:
    SetupEvent.objects.create(
        customer=cast.acme,
        at=timezone.now(),
        session=session,
        stage=stage,
        reply=reply,
        message=message,
        client_ip="192.0.2.1",
    )


def test_opening_the_page_has_the_relay_watch(alice: Client, cast: Cast, browser_of: Browser) -> None:
    browser_of(cast.bob).get(reverse("setup"))
    cast.acme.refresh_from_db()
    assert cast.acme.watched_until is None
    alice.get(reverse("setup"))
    cast.acme.refresh_from_db()
    assert cast.acme.watched_until is not None


@pytest.mark.parametrize(
    ("stage", "reply", "hint"),
    [
        ("tls", "530 5.7.0 Must issue a STARTTLS command first", "without encryption"),
        ("login", "535 5.7.8 Authentication failed", "user name and secret"),
        (
            "sender",
            "553 5.7.1 Sender domain is not one of your verified domains",
            "must be one that you have proven",
        ),
        ("sender", "550 Sender Domain must resolve", "does not exist in public DNS"),
        (
            "accepted",
            "550 5.7.1 Header From names a domain that is not one of your verified domains",
            "not handed over",
        ),
        ("accepted", "554 5.7.1 Message contains a virus (Eicar)", "virus"),
        ("sender", "451 Ratelimit reached", "limit"),
    ],
)
def test_each_mistake_is_named_with_its_fix(
    stage: str, reply: str, hint: str, alice: Client, cast: Cast
) -> None:
    for reached in ("connected", "tls", "login", "sender", "accepted"):
        if reached == stage:
            break
        note(cast, reached)
    note(cast, stage, reply)
    text = text_of(alice, "setup_live")
    assert 'class="bad"' in text
    assert reply.split("(", maxsplit=1)[0] in text
    assert hint in text


def test_a_wrong_secret_is_found_by_the_user_name(alice: Client, cast: Cast) -> None:
    factories.make_credential(cast.acme, "acme-web")
    refused = {
        "stage": "auth",
        "code": 535,
        "enhanced": "5.7.8",
        "text": "Authentication failed",
        "reason": "login",
    }
    factories.make_refusal(None, detail={"username": "acme-web"}, **refused)
    factories.make_refusal(None, detail={"username": "globex-web"}, **refused)
    text = text_of(alice, "setup_live")
    assert text.count('class="done"') == 2
    assert "535 5.7.8 Authentication failed" in text


def test_the_way_to_the_end_stops_the_polling(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme)
    for stage in ("connected", "tls", "login", "sender"):
        note(cast, stage)
    note(cast, "accepted", message=message.pk)
    plain = alice.get(reverse("setup_live"))
    polled = alice.get(reverse("setup_live"), headers={"HX-Request": "true"})
    assert (plain.status_code, polled.status_code) == (200, 286)
    assert plain.content.decode().count('class="done"') == 6
    assert reverse("message", args=[message.text_id]) in plain.content.decode()


def test_a_later_failure_does_not_hide_the_success(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme)
    for stage in ("connected", "tls", "login", "sender"):
        note(cast, stage)
    note(cast, "accepted", message=message.pk)
    note(cast, "login", "535 5.7.8 No", session="s2")
    assert text_of(alice, "setup_live").count('class="done"') == 6


# ------------------------------------------------------------------------------------------------ forced TLS


def report(state: str) -> preflight.PreflightReport:
    verdicts = {
        level: preflight.Verdict(state, "" if state == "works" else "no STARTTLS")
        for level in ("encrypt", "verify")
    }
    return preflight.PreflightReport(domain="bank.example", at=timezone.now(), verdicts=verdicts)


RULE = {"recipient_domain": "Bank.example", "level": "verify", "on_failure": "hold", "min_version": "TLSv1.2"}


@pytest.fixture
def partner(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """partner("fails"): what the preflight finds from now on."""

    def be(state: str) -> None:
        monkeypatch.setattr("portal.tls_tests.preflight_now", lambda *args, **options: report(state))
        monkeypatch.setattr("portal.tls_tests.tls_probes.probe", lambda rule: report(state))
        monkeypatch.setattr("portal.tls_tests.async_task", lambda name, pk, **options: tls_tests.run(pk))

    return be


def test_a_rule_is_tested_before_it_is_saved(alice: Client, partner: Callable[[str], None]) -> None:
    partner("fails")
    text = alice.post(reverse("tls_add"), RULE | {"test": "1"}, follow=True).content.decode()
    assert 'value="bank.example"' in text
    assert "Cannot be met" in text
    assert "mail would be refused or held" in text
    assert not TlsRule.objects.exists()


def test_saving_keeps_the_verdict_beside_the_rule(alice: Client, partner: Callable[[str], None]) -> None:
    partner("works")
    tested = alice.post(reverse("tls_add"), RULE | {"test": "1"})
    alice.post(tested["Location"].partition("#")[0], RULE | {"save": "1"})
    assert TlsTest.objects.count() == 1
    rule = TlsRule.objects.get()
    assert (rule.recipient_domain, rule.level, rule.probe["state"]) == ("bank.example", "verify", "works")
    assert "Can be met" in text_of(alice, "tls")


def test_a_rule_saved_without_a_test_is_tested_afterwards(
    alice: Client, partner: Callable[[str], None]
) -> None:
    partner("works")
    alice.post(reverse("tls_add"), RULE | {"save": "1"})
    assert TlsTest.objects.get().rule == TlsRule.objects.get()
    assert TlsRule.objects.get().probe["checked_at"]


def test_a_running_test_is_followed_and_ends_the_polling(
    alice: Client, partner: Callable[[str], None]
) -> None:
    test = tls_tests.start(Customer.objects.get(slug="acme"), "bank.example")
    url = reverse("tls_test_result", args=[test.pk])
    page = alice.get(url).content.decode()
    assert ('http-equiv="refresh"' in page, "hx-get" in page) == (True, True)
    assert alice.get(url, headers={"HX-Request": "true"}).status_code == 200
    partner("works")
    tls_tests.run(test.pk)
    done = alice.get(url, headers={"HX-Request": "true"})
    assert (done.status_code, b"Can be met" in done.content) == (286, True)
    assert "refresh" not in alice.get(url).content.decode()


def test_a_test_that_nobody_runs_says_so(alice: Client) -> None:
    test = tls_tests.start(Customer.objects.get(slug="acme"), "bank.example")
    TlsTest.objects.update(asked_at=timezone.now() - timedelta(minutes=3))
    assert "The test was not run" in text_of(alice, "tls_test_result", test.pk)


def test_another_customers_test_is_not_there(cast: Cast, browser_of: Browser) -> None:
    test = tls_tests.start(cast.acme, "bank.example")
    assert browser_of(cast.charlie).get(reverse("tls_test_result", args=[test.pk])).status_code == 404


def test_three_tests_at_once_are_enough(cast: Cast) -> None:
    for name in ("a.example", "b.example", "c.example", "c.example"):
        tls_tests.start(cast.acme, name)
    with pytest.raises(ValidationError):
        tls_tests.start(cast.acme, "d.example")


def test_a_second_rule_for_the_pair_is_refused(
    alice: Client, cast: Cast, partner: Callable[[str], None]
) -> None:
    partner("works")
    factories.make_tls_rule(cast.acme, "bank.example")
    assert alice.post(reverse("tls_add"), RULE | {"save": "1"}).status_code == 400
    assert TlsRule.objects.count() == 1


def test_a_rule_is_changed_and_removed(alice: Client, cast: Cast, partner: Callable[[str], None]) -> None:
    partner("works")
    rule = factories.make_tls_rule(cast.acme, "bank.example")
    alice.post(
        reverse("tls_change", args=[rule.pk]), RULE | {"level": "encrypt", "shadow": "on", "save": "1"}
    )
    rule.refresh_from_db()
    assert (rule.level, rule.shadow) == ("encrypt", True)
    alice.post(reverse("tls_remove", args=[rule.pk]))
    assert not TlsRule.objects.exists()


def test_the_test_page_says_what_the_latest_mail_had(
    alice: Client, cast: Cast, partner: Callable[[str], None]
) -> None:
    partner("works")
    tls = {"version": "TLSv1.3", "cipher": "X", "verified": True}
    factories.make_message(cast.acme, to=("a@bank.example",), recipient={"tls": tls})
    factories.make_message(cast.acme, to=("b@bank.example",), recipient={"tls": None})
    text = alice.post(reverse("tls_test"), {"domain": "bank.example"}, follow=True).content.decode()
    assert "Of your 2 deliveries there in the last 30 days 1 were encrypted, 1 of them with a checked" in text
    assert "A rule would have stopped the 1 that went in clear text." in text


# ------------------------------------------------------------------------------------------------ the dry run


NO_DOMAIN = "550 Sender Domain must resolve"
ASKED = {
    "sender": "you@acme.example",
    "recipients": "dora@example.org",
    "text": "From: you@acme.example\n\nHello",
}


def test_the_answer_of_the_gateway(alice: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_credential(cast.acme, "acme-web")
    told = {
        "accepted": False, "reply": NO_DOMAIN, "limit": {},
        "trace": [{"step": "sender_domain", "outcome": "refuse", "detail": {"reply": NO_DOMAIN}, "ms": 1}],
    }  # fmt: skip
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "portal.customer.explain.explain", lambda raw, **options: asked.update(options, raw=raw) or told
    )
    text = alice.post(reverse("explain"), ASKED | {"credential": "acme-web"}).content.decode()
    assert "Would be refused" in text
    assert "We answered: 550 Sender Domain must resolve" in text
    assert (asked["credential"], asked["recipients"], asked["raw"][:5]) == (
        "acme-web",
        ["dora@example.org"],
        b"From:",
    )


def test_logins_of_others_cannot_be_asked_for(
    alice: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_credential(cast.acme, "acme-web")
    factories.make_credential(cast.globex, "globex-web")
    monkeypatch.setattr("portal.customer.explain.explain", lambda *args, **options: pytest.fail("asked"))
    assert alice.post(reverse("explain"), ASKED | {"credential": "globex-web"}).status_code == 400


def test_without_a_login_the_page_says_so(alice: Client) -> None:
    assert "You need an SMTP login first" in text_of(alice, "explain")


# ------------------------------------------------------------------------------------------------ reports


def test_refusals_are_explained_and_searchable(alice: Client, cast: Cast) -> None:
    factories.make_refusal(cast.acme)
    factories.make_refusal(
        cast.acme, sender="shop@acme.example", code=451, text="Ratelimit reached", reason="rate_limit"
    )
    assert "domain does not exist in public DNS" in text_of(alice, "refusals")
    found = text_of(alice, "refusals", q="shop@acme.example")
    assert "Ratelimit reached" in found
    assert "must resolve" not in found


def test_refusals_are_found_by_the_servers_address(alice: Client, cast: Cast) -> None:
    factories.make_refusal(cast.acme, client_ip="192.0.2.77", text="From this server")
    factories.make_refusal(cast.acme, client_ip="192.0.2.78", text="From another one")
    found = text_of(alice, "refusals", q="192.0.2.77")
    assert "From this server" in found
    assert "From another one" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/refusals/?q=a%00b", "/suppressions/?q=%00", "/ndr/?cause=%00", "/messages/?sender=%00", "/messages/?id=a%00",
        "/activity/?area=%00",
    ],
)  # fmt: skip
def test_nul_in_a_search_breaks_nothing(path: str, alice: Client) -> None:
    assert alice.get(path).status_code == 200


def test_nul_in_a_domain_name_is_404(alice: Client) -> None:
    assert alice.get("/domains/a%00b.example/").status_code == 404


def test_reports_are_grouped_by_cause(alice: Client, cast: Cast) -> None:
    message = factories.make_message(cast.acme, state="bounced")
    for number in range(3):
        factories.make_ndr(message, cause="unknown_user", address=f"n{number}@example.org")
    factories.make_ndr(message, cause="no longer in the dictionary")
    old = factories.make_ndr(message, cause="old")
    type(old).objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=8))
    causes = alice.get(reverse("ndr")).context["causes"]
    assert [(cause.key, cause.number) for cause in causes] == [
        ("unknown_user", 3),
        ("no longer in the dictionary", 1),
    ]
    assert len(alice.get(reverse("ndr"), {"cause": "unknown_user"}).context["found"].rows) == 3


def test_suppressions_are_added_and_lifted(alice: Client, cast: Cast) -> None:
    alice.post(reverse("suppressions"), {"address": "Gone@Example.org"})
    row = Suppression.objects.get()
    assert row.address == "gone@example.org"
    assert alice.post(reverse("suppressions"), {"address": "nonsense"}).status_code == 400
    alice.post(reverse("suppression_remove", args=[row.pk]))
    assert not Suppression.objects.exists()


def test_statistics_sum_days_of_the_readers_zone(alice: Client, cast: Cast) -> None:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    factories.make_hour(cast.acme, midnight, accepted=5, spam=1, delivered=4)
    factories.make_hour(cast.acme, midnight - timedelta(hours=1), accepted=7)
    by_day = list(statistics_page._by_day(statistics_page._counts(cast.acme, 7), 7).values())
    assert [day["accepted"] for day in by_day[-2:]] == [7, 5]
    assert alice.get(reverse("statistics")).context["totals"]["accepted"] == 12


def test_the_overview_counts_what_is_there(alice: Client, cast: Cast) -> None:
    factories.make_hour(cast.acme, accepted=7, delivered=6, bounced=1)
    factories.make_hour(cast.globex, accepted=500)
    context = alice.get("/").context
    assert (context["totals"]["accepted"], context["failed"]) == (7, 1)
    assert [step["key"] for step in context["checklist"]] == ["domain", "dns", "access", "mail", "alerts"]


@pytest.mark.parametrize(
    ("degraded", "sentence"),
    [
        ({"antivirus": "not configured"}, "mail is not scanned for viruses"),
        ({"antivirus": "connection refused"}, "answered 451"),
        ({"spam:rspamd": "does not answer"}, "rspamd does not answer"),
    ],
)
def test_what_does_not_work_is_said_on_top(
    degraded: dict[str, str], sentence: str, alice: Client, cast: Cast
) -> None:
    factories.make_worker(degraded=degraded)
    assert sentence in text_of(alice, "overview")


# ------------------------------------------------------------------------------------------------ help, mail catcher


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
