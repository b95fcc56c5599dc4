"""What the demo's people did in the last days besides sending mail: asked, answered, appealed, tested, and had a login
stopped. Every step is the verb that the pages use, at the time it is told of.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from gateway.control import (
    appeal_requests,
    appeals,
    complaints,
    dkim,
    domain_checks,
    fuse,
    shaping,
    suppressions,
    tls_rules,
)
from gateway.models import (
    Appeal,
    AuditEntry,
    Bar,
    Credential,
    Customer,
    Domain,
    Gateway,
    Message,
    Shaping,
    TlsRule,
    TlsShadow,
)
from gateway.rules.behaviour import Breach, Signal
from portal import consent, support_requests, team, tokens
from portal.demo import clock, letters
from portal.demo.cast import SUPPORT
from portal.models import SupportRequest, User, WebhookDelivery, WebhookEndpoint
from portal.webhooks import endpoints, tasks
from portal.webhooks.events import envelope
from portal.webhooks.sender import Answer

ALICE, CHARLIE = "alice@acme.example", "charlie@globex.example"
WITHOUT_LETTERS = "https://smg.example/invitations/{token}/"

OUT_OF_THE_WAY = 10**12


@transaction.atomic
def make_doings(now: datetime) -> None:
    """Does nothing for what is there already."""
    acme, globex = (Customer.objects.get(slug=slug) for slug in ("acme", "globex"))
    if SupportRequest.objects.exists():
        return
    ask_support(acme, globex, now)
    with clock.at(now - timedelta(hours=20)):
        dkim.request(globex.domains.get(name="globex.example"), actor=CHARLIE, note="For our newsletters")
    appeal(acme, now)
    test_rules(acme, now)
    tell_machines(acme, now)
    stop_login(acme, now)
    complain(acme, now)
    for days, (address, reason, text) in enumerate(letters.SUPPRESSED, 3):
        with clock.at(now - timedelta(days=days)):
            suppressions.add(acme, address, actor=ALICE, reason=reason, text=text)
    run_gateways(now)
    for domain in Domain.objects.all():
        domain_checks.check(domain)
    order_log()


def order_log() -> None:
    """The log is read by its ids, and this story was not made in the order of time."""
    rows = list(AuditEntry.objects.order_by("at", "id").values_list("pk", flat=True))
    AuditEntry.objects.update(id=F("id") + OUT_OF_THE_WAY)
    for old, new in zip(rows, sorted(rows), strict=True):
        AuditEntry.objects.filter(pk=old + OUT_OF_THE_WAY).update(id=new)


FEEDBACK = """\
From: feedback@partner.example
Message-ID: <{id}@partner.example>
Content-Type: multipart/report; report-type=feedback-report; boundary=p

--p
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Feedback/1.0
Version: 1
Original-Rcpt-To: {recipient}

--p
Content-Type: text/rfc822-headers

Received: by {host} with ESMTPSA id {id};
From: {author}

--p--
"""


def complain(acme: Customer, now: datetime) -> None:
    """Two readers of a newsletter have forgotten that they ordered it; a third report is about nothing of ours."""
    sent = Message.objects.filter(customer=acme, recipients__state="delivered", category="clean")
    for place, message in enumerate(sent.order_by("-id")[20:22]):
        recipient = message.recipients.all()[0].address
        with clock.at(now - timedelta(hours=2 + 30 * place)):
            complaints.record(feedback(message.text_id, recipient, message.header_from))
    with clock.at(now - timedelta(hours=9)):
        complaints.record(feedback("0000000000000", "someone@partner.example", "unknown@elsewhere.example"))


def feedback(text_id: str, recipient: str, author: str) -> bytes:
    """The report of a mailbox provider."""
    said = FEEDBACK.format(id=text_id, recipient=recipient, author=author, host="smtp.smg.example")
    return said.encode()


def ask_support(acme: Customer, globex: Customer, now: datetime) -> None:
    """A request in every state, one about a message that support was allowed to look at."""
    message = Message.objects.filter(customer=acme, recipients__state="bounced").order_by("-id").first()
    with clock.at(now - timedelta(days=6, hours=4)):
        done = support_requests.create(
            acme, subject="SPF with a second provider", topic="dns", actor=ALICE,
            text="We also send by another provider. Where in the record does your host go?",
        )  # fmt: skip
    with clock.at(now - timedelta(days=6, hours=2)):
        text = (
            "Put our mechanism first, directly after v=spf1. The page of the domain shows the whole record."
        )
        support_requests.reply(done, text=text, actor=SUPPORT, from_support=True)
        support_requests.close(done, actor=ALICE)
    with clock.at(now - timedelta(days=1, hours=5)):
        answered = support_requests.create(
            acme, subject="Order was not delivered", topic="delivery", message=message, actor=ALICE,
            text="Our partner says that nothing arrived. Can you have a look at this message?",
        )  # fmt: skip
        consent.grant(acme, hours=48, reason="See the request about the order", message=message, actor=ALICE)
    with clock.at(now - timedelta(days=1, hours=4)):
        if message is not None:
            consent.look(message, what="subject", actor=SUPPORT)
        text = "Their server refuses 192.0.2.2 because of a blocklist."
        support_requests.reply(answered, text=text, actor=SUPPORT, from_support=True, internal=True)
        text = "They refused it because one of our addresses is on a blocklist. We work on that; please send it again."
        support_requests.reply(answered, text=text, actor=SUPPORT, from_support=True)
    with clock.at(now - timedelta(hours=3)):
        support_requests.create(
            acme, subject="More messages a minute in December", actor=ALICE,
            text="Our Christmas orders will need about 300 messages a minute. Can you raise the limit until New Year?",
        )  # fmt: skip
    with clock.at(now - timedelta(hours=20)):
        support_requests.create(
            globex, subject="Umstellung auf DKIM", topic="dns", actor=CHARLIE,
            text="Wir haben den Schlüssel angefordert. Was müssen wir im DNS eintragen?",
        )  # fmt: skip


def appeal(acme: Customer, now: datetime) -> None:
    """One that was accepted, one that was declined, one that waits."""
    judged = Message.objects.filter(
        customer=acme, credential__username=letters.ACME.login, category="suspect"
    )
    first, second = judged.order_by("id")[:2]
    third = judged.order_by("-id")[0]
    comments = (
        "This is our weekly offer, customers asked for it.",
        "Why?",
        "An invoice with a picture of the article.",
    )
    found: list[Appeal] = []
    for message, comment in zip((first, second, third), comments, strict=True):
        with clock.at(min(message.received_at + timedelta(hours=2), now - timedelta(minutes=9))):
            found.append(appeal_requests.ask(message, actor=ALICE, comment=comment))
    with clock.at(now - timedelta(days=4)):
        appeals.accept(
            found[0], actor=SUPPORT, answer="Your customers want it: it counts as clean from now on."
        )
        appeals.decline(found[1], actor=SUPPORT, answer="The link goes to a shortener; use your own domain.")


def test_rules(acme: Customer, now: datetime) -> None:
    """What the daily test found at the partners' servers, and what the rule in shadow mode would have done."""
    checked = (now - timedelta(hours=2)).isoformat()
    for rule in TlsRule.objects.filter(customer=acme):
        state = "fails" if rule.recipient_domain == "bank.example" else "works"
        problem = (
            "" if state == "works" else "mx.bank.example (203.0.113.25): certificate is for mail.bank.example"
        )
        expires = (now + timedelta(days=74)).isoformat()
        probe = {
            "state": state,
            "checked_at": checked,
            "expires_at": expires,
            "problem": problem,
        }
        tls_rules.keep_probe(rule, probe | {"failures": int(state == "fails"), "warned_for": None})
    to_partner = Message.objects.filter(customer=acme, recipients__domain="partner.example").order_by("-id")[
        :12
    ]
    TlsShadow.objects.bulk_create(
        TlsShadow(
            message=message, at=message.received_at, destination="partner.example", host="mx.partner.example",
            problem="the server does not offer STARTTLS" if place % 6 == 4 else "",
        )
        for place, message in enumerate(to_partner)
    )  # fmt: skip


def tell_machines(acme: Customer, now: datetime) -> None:
    """A token and two webhooks: one that is listened to, one that was given up."""
    alice = User.objects.get(email=ALICE)
    with clock.at(now - timedelta(days=12)):
        tokens.create(acme, alice, name="Dashboard in the shop", scopes=[tokens.READ], actor=ALICE)
    with clock.at(now - timedelta(days=2)):
        team.invite(acme, "dora@acme.example", "admin", actor=ALICE, link=WITHOUT_LETTERS)
    with clock.at(now - timedelta(days=10)):
        heard, _secret = endpoints.create(
            acme, url="https://hooks.acme.example/smg", events=["blacklist.alert", "message.failed"],
            description="Ticket system", actor=ALICE,
        )  # fmt: skip
        dead, _secret = endpoints.create(
            acme, url="https://old.acme.example/hook", description="Old CRM", actor=ALICE
        )
    for hours, answer in ((70, Answer(200, "", "ok", 84)), (46, Answer(503, "", "try later", 210)), (22, OK)):
        _deliver(heard, now - timedelta(hours=hours), answer)
    _deliver(dead, now - timedelta(days=8), Answer(410, "", "gone", 61))


OK = Answer(200, "", '{"ticket": 5127}', 132)


def _deliver(endpoint: WebhookEndpoint, at: datetime, answer: Answer) -> None:
    """One event, answered as told; what was not taken is taken the second time."""
    data = {"kind": "listed", "severity": "major", "target": "198.51.100.25", "provider": "blocklist.de"}
    with clock.at(at):
        delivery = WebhookDelivery.objects.create(
            endpoint=endpoint,
            event="blacklist.alert",
            payload=envelope("blacklist.alert", at, data),
            next_attempt_at=at,
        )
        tasks.settle(delivery, answer)
        if answer.status >= 500:
            tasks.settle(delivery, OK)


def stop_login(acme: Customer, now: datetime) -> None:
    """The abuse fuse finds a stolen login; what it had queued is held."""
    stolen = Credential.objects.get(customer=acme, username=letters.STOLEN.login)
    breach = Breach(
        (Signal("burst", 412.0, 9.0), Signal("networks", 1.0, 0.0), Signal("recipients", 0.96, 0.08))
    )
    with clock.at(now - timedelta(hours=3), letters=True):
        fuse.contain([fuse.Stop(stolen.pk, breach)])


def run_gateways(now: datetime) -> None:
    """A destination that refuses one gateway for a while, and one that is treated gently."""
    if not Shaping.objects.exists():
        note = "They refuse more than five connections"
        shaping.create(actor=SUPPORT, destination="partner.example", max_connections=5, note=note)
    reason = "554 5.7.1 Client host [192.0.2.2] blocked using bl.mailspike.net"
    Bar.objects.get_or_create(
        gateway=Gateway.objects.get(name="mta02"), destination="partner.example",
        defaults={"until": now + timedelta(hours=6), "reason": reason},
    )  # fmt: skip
