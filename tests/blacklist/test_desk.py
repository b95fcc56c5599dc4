"""Support's handling of one listing, from the first look to the end, and what is refused on the way."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from blacklist.control import desk, prechecks, runs
from blacklist.control.mutes import mute, unmute
from blacklist.models import Alert, BlacklistSettings, DelistingTicket, Listing
from blacklist.rules.tickets import State
from gateway.config import Endpoint
from gateway.dns import Resolver
from gateway.models import AuditEntry, Gateway
from tests.blacklist.lab import add_list
from tests.factories import make_attempt, make_gateway, make_message, make_recipient

pytestmark = pytest.mark.django_db
SAM = "sam@smg.example"
MAIL_LIST = {
    "removal_method": "email", "removal_url_or_email": "delist@list.example",
    "request_policy": "e-mail, after a person has confirmed the fix",
}  # fmt: skip


def check(lab):
    return runs.start("manual", actor="test", options=lab.options())


def opened(lab, watch, slug="list", **columns):
    add_list(lab, slug, **columns)
    watch("192.0.2.10")
    lab.put(f"{slug}.lab", "192.0.2.10", text="spam seen")
    check(lab)
    return DelistingTicket.objects.get()


def confirm(ticket, **changes):
    values = {
        "cause": "compromised",
        "cause_text": "",
        "action_text": "the account was stopped",
        "fixed_at": None,
    }
    desk.confirm_cause(ticket, actor=SAM, **(values | changes))


def test_the_whole_handling_by_mail(lab, watch):
    ticket = opened(lab, watch, **MAIL_LIST)
    assert ticket.draft_subject == "Removal request: 192.0.2.10 (spam) on LIST"
    assert ticket.request_to == "delist@list.example"
    assert "please complete" in ticket.draft_text
    with pytest.raises(ValidationError, match="Confirm the cause"):
        desk.send_request(ticket, actor=SAM)
    desk.assign(ticket, actor=SAM)
    assert (ticket.state, ticket.assigned_to) == ("investigating", SAM)
    confirm(ticket)
    assert ticket.state == "ready"
    assert "please complete" not in ticket.draft_text
    mail.outbox.clear()
    desk.send_request(ticket, actor=SAM)
    (sent,) = mail.outbox
    assert sent.to == ["delist@list.example"]
    assert "Cause: A customer's account was taken over and sent unwanted mail." in sent.body
    assert (ticket.state, ticket.request_via, ticket.requested_by) == ("requested", "e-mail", SAM)
    lab.take("list.lab", "192.0.2.10")
    check(lab)
    ticket.refresh_from_db()
    assert (ticket.state, ticket.close_reason) == ("closed", "no longer listed")
    kinds = [event.kind for event in ticket.events.all()]
    assert kinds == ["state", "state", "state", "request", "state", "state"]
    assert AuditEntry.objects.filter(action="ticket.move", actor=SAM).count() == 3


def test_never_twice_in_seven_days_even_for_a_sister_list(lab, watch):
    add_list(lab, "nord-ip", **MAIL_LIST)
    add_list(lab, "nord-other", **MAIL_LIST)
    watch("192.0.2.10")
    for zone in ("nord-ip.lab", "nord-other.lab"):
        lab.put(zone, "192.0.2.10")
    with time_machine.travel("2026-03-01 05:00+00:00", tick=False) as clock:
        check(lab)
        first, second = DelistingTicket.objects.order_by("id")
        confirm(first)
        confirm(second)
        desk.send_request(first, actor=SAM)
        with pytest.raises(ValidationError, match="2026-03-08"):
            desk.send_request(second, actor=SAM)
        desk.mark_rejected(first, answer="not yet", actor=SAM)
        confirm(first)
        with pytest.raises(ValidationError, match="2026-03-08"):
            desk.send_request(first, actor=SAM)
        clock.shift(timedelta(days=7))
        desk.send_request(second, actor=SAM)
    assert len([one for one in mail.outbox if one.to == ["delist@list.example"]]) == 2


def test_forms_are_filled_by_people(lab, watch):
    ticket = opened(lab, watch)
    confirm(ticket)
    with pytest.raises(ValidationError, match="no requests by e-mail"):
        desk.send_request(ticket, actor=SAM)
    assert dict(map(tuple, ticket.draft_fields))["Reason for removal"].startswith(
        "A customer's account was taken over"
    )
    desk.mark_submitted(ticket, reference="case 4711", actor=SAM)
    assert (ticket.state, ticket.request_ref, ticket.request_via) == ("requested", "case 4711", "form")


def test_wait_lists_wait_and_get_no_request(lab, watch):
    ticket = opened(
        lab, watch, removal_method="automatic-expiry", request_policy="wait; do not pay", auto_expiry="7 days"
    )
    assert ticket.state == "waiting_expiry"
    assert ticket.expected_end - ticket.opened_at == timedelta(days=7)
    assert ticket.next_action_at == ticket.expected_end
    confirm(ticket)
    with pytest.raises(ValidationError, match="no requests"):
        desk.send_request(ticket, actor=SAM)


def test_a_refusal_is_told_and_the_search_begins_again(lab, watch):
    ticket = opened(lab, watch)
    confirm(ticket)
    desk.mark_submitted(ticket, reference="x", actor=SAM)
    desk.mark_rejected(ticket, answer="still spamming", actor=SAM)
    assert ticket.state == "rejected"
    assert Alert.objects.latest("id").kind == "rejected"
    assert ticket.events.latest("id").text == "still spamming"


def test_impossible_moves_say_so(lab, watch):
    ticket = opened(lab, watch)
    with pytest.raises(ValidationError, match="cannot become requested"):
        desk.move(ticket, State.REQUESTED, actor=SAM)
    with pytest.raises(ValidationError, match="Say what the cause was"):
        confirm(ticket, action_text=" ")
    with pytest.raises(ValidationError, match="in one sentence"):
        confirm(ticket, cause="unknown")
    with pytest.raises(ValidationError, match="future"):
        desk.accept_risk(ticket, until=timezone.now(), reason="x", actor=SAM)
    with pytest.raises(ValidationError, match="Say why"):
        desk.close(ticket, reason=" ", actor=SAM)


def test_a_closed_ticket_of_a_listing_that_goes_on_stays_closed(lab, watch):
    ticket = opened(lab, watch)
    desk.close(ticket, reason="nobody uses this list", actor=SAM)
    check(lab)
    ticket.refresh_from_db()
    assert ticket.state == "closed"
    assert Listing.objects.get().is_open


def test_the_customer_answers_and_the_ticket_goes_on(lab, watch):
    ticket = opened(lab, watch)
    desk.ask_customer(ticket, text="What did you send on Monday?", actor=SAM)
    assert ticket.state == "needs_customer"
    desk.customer_answers(ticket, text="A newsletter.", actor="alice@acme.example")
    assert ticket.state == "investigating"
    public = [(event.actor, event.text) for event in ticket.events.filter(is_public=True, kind="comment")]
    assert public == [(SAM, "What did you send on Monday?"), ("alice@acme.example", "A newsletter.")]
    desk.comment(ticket, text="internal", actor=SAM, public=False)
    assert not ticket.events.filter(is_public=True, text="internal").exists()


def test_a_list_that_is_found_dead_ends_its_tickets_without_good_news(lab, watch):
    ticket = opened(lab, watch)
    from blacklist.control.providers import load_rows

    load_rows(
        [
            {
                "slug": "list",
                "zone": "list.lab",
                "kind": "ip4",
                "status_as_known": "dead",
                "severity_reason": "closed 2026",
            }
        ],
        actor="test",
    )
    ticket.refresh_from_db()
    assert (ticket.state, ticket.close_reason) == ("list_invalid", "closed 2026")
    assert [alert.kind for alert in Alert.objects.all()] == ["listed"]
    lab.questions.clear()
    check(lab)
    assert not lab.questions


def test_a_muted_list_mails_nobody_unless_it_is_critical(lab, watch, acme):
    provider = add_list(lab, "list")
    critical = add_list(lab, "zen", severity="critical")
    watch("192.0.2.10", customer="acme")
    until = timezone.now() + timedelta(days=30)
    mute(acme, provider, reason="known", until=until, actor="alice@acme.example")
    mute(acme, critical, reason="known", until=until, actor="alice@acme.example")
    lab.put("list.lab", "192.0.2.10")
    check(lab)
    assert not [one for one in mail.outbox if one.to == [acme.alert_email]]
    lab.put("zen.lab", "192.0.2.10")
    check(lab)
    assert len([one for one in mail.outbox if one.to == [acme.alert_email]]) == 1
    assert unmute(acme, provider, actor="alice@acme.example")
    with pytest.raises(ValidationError):
        mute(acme, provider, reason="x", until=timezone.now() + timedelta(days=400), actor="x")


def test_prechecks_are_evidence(lab, watch, dns_server):
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01.smg.example")
    dns_server.add("10.2.0.192.in-addr.arpa", "PTR", "mta01.smg.example.")
    dns_server.add("mta01.smg.example", "A", "192.0.2.10")
    dns_server.add("mta01.smg.example", "TXT", "v=spf1 ip4:192.0.2.10 -all")
    dns_server.mail_domain("mta01.smg.example")
    ticket = opened(lab, watch, **MAIL_LIST)
    resolver = lambda: Resolver((Endpoint(dns_server.host, dns_server.port),))  # noqa: E731
    found = {check.name: check.ok for check in prechecks.precheck(ticket, resolver)}
    assert found["ptr"] is found["ptr_generic"] is found["helo"] is found["spf"] is True
    assert found["open_relay"] is found["other_lists"] is found["ours"] is True
    ticket.refresh_from_db()
    assert "192.0.2.10 (mta01.smg.example), outbound gateway of" in ticket.draft_text


def test_prechecks_without_dns_are_unknown_not_good(lab, watch, dns_server):
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01.smg.example")
    dns_server.fail("10.2.0.192.in-addr.arpa", "servfail")
    ticket = opened(lab, watch)
    found = {
        one.name: one.ok
        for one in prechecks.precheck(ticket, lambda: Resolver((Endpoint(dns_server.host, dns_server.port),)))
    }
    assert found["ptr"] is found["ptr_generic"] is found["helo"] is None


def test_a_critical_listing_rests_the_gateway_and_tells_whose_mail_it_hit(lab, acme, globex):
    one = make_gateway("mta01", source_ip="192.0.2.10")
    make_gateway("mta02", source_ip="192.0.2.11")
    add_list(lab, "zen", severity="critical")
    for number in range(3):
        message = make_message(acme, category="spam" if number else "clean", recipient={"gateway": one})
    attempt = make_recipient(message, "eve@example.net")
    make_attempt(attempt, gateway=one, code=550, text="blocked using zen.lab", remote_host="mx.example.net")
    lab.put("zen.lab", "192.0.2.10")
    mail.outbox.clear()
    check(lab)
    one.refresh_from_db()
    assert one.drained_by_listing
    impact = Listing.objects.get().impact
    assert impact["customers"] == [{"id": acme.pk, "name": "ACME", "recipients": 3, "spam": 2}]
    assert [(row["list"], row["destination"], row["count"]) for row in impact["replies"]] == [
        ("zen", "mx.example.net", 1)
    ]
    by_to = {sent.to[0]: sent for sent in mail.outbox}
    assert "ACME: 3 recipients, 2 suspect or spam" in by_to["support@smtp.smg.example"].body
    assert "refused by mx.example.net 1 times" in by_to["support@smtp.smg.example"].body
    assert "Nothing is wrong on your side" in by_to[acme.alert_email].body
    assert globex.alert_email not in by_to


def test_the_last_good_gateway_keeps_sending(lab):
    make_gateway("mta01", source_ip="192.0.2.10")
    make_gateway("mta03", pool="bad", source_ip="192.0.2.13")
    add_list(lab, "zen", severity="critical")
    lab.put("zen.lab", "192.0.2.10")
    check(lab)
    assert not Gateway.objects.get(name="mta01").drained_at
    assert "still sends" in mail.outbox[-1].body


def test_the_setting_and_persons_drains_are_respected(lab):
    from gateway.control import gateways

    one = make_gateway("mta01", source_ip="192.0.2.10")
    make_gateway("mta02", source_ip="192.0.2.11")
    add_list(lab, "zen", severity="critical")
    settings = BlacklistSettings.load()
    settings.auto_drain = False
    settings.save()
    lab.put("zen.lab", "192.0.2.10")
    check(lab)
    assert not Gateway.objects.get(name="mta01").drained_at
    gateways.drain(one, actor=SAM, reason="maintenance")
    lab.take("zen.lab", "192.0.2.10")
    check(lab)
    assert Gateway.objects.get(name="mta01").drained_at  # the listing is gone, the maintenance is not


def test_two_critical_lists_hold_the_gateway_until_both_are_gone(lab):
    make_gateway("mta01", source_ip="192.0.2.10")
    make_gateway("mta02", source_ip="192.0.2.11")
    for slug in ("zen", "brbl"):
        add_list(lab, slug, severity="critical")
        lab.put(f"{slug}.lab", "192.0.2.10")
    check(lab)
    lab.take("zen.lab", "192.0.2.10")
    check(lab)
    assert Gateway.objects.get(name="mta01").drained_at
    lab.take("brbl.lab", "192.0.2.10")
    check(lab)
    assert not Gateway.objects.get(name="mta01").drained_at


def test_customers_are_written_to_in_their_language(lab, watch, globex):
    add_list(lab, "list")
    watch("192.0.2.10", customer="globex")
    lab.put("list.lab", "192.0.2.10", "127.0.0.4", text="botnet")
    check(lab)
    (sent,) = [one for one in mail.outbox if one.to == [globex.alert_email]]
    assert sent.subject == "Zustellung eventuell gestört: 192.0.2.10 steht auf der Sperrliste LIST"
    assert "Die Liste meldet auffälligen Datenverkehr aus Ihrem Netz." in sent.body
    assert "Bitte prüfen Sie Rechner und Router hinter 192.0.2.10." in sent.body
    lab.take("list.lab", "192.0.2.10")
    check(lab)
    assert mail.outbox[-1].subject == "Erledigt: 192.0.2.10 steht nicht mehr auf der Sperrliste LIST"


def test_a_lists_words_never_change_a_header(lab, watch, acme):
    add_list(lab, "list", name="Bad\r\nBcc: eve@example.org")
    watch("192.0.2.10", customer="acme")
    lab.put("list.lab", "192.0.2.10", text="x\r\nBcc: eve@example.org")
    check(lab)
    for sent in mail.outbox:
        assert "\n" not in sent.subject
        assert "eve@example.org" not in sent.recipients()
