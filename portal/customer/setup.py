"""The two-step set-up, and 'waiting for your first mail': follows live what the customer's server does.

While the page is open the relay notes each stage that a session of this customer reaches (SetupEvent), or the reply it
failed with. The stages in order: connected, tls, login, sender, accepted; then delivered, from the message itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gateway.control import customers
from gateway.models import Credential, Customer, Message, Recipient, Refusal, SetupEvent
from gateway.rules.ids import id_at
from portal.access import access_customer, current_membership, may_write, page
from portal.customer.client_configs import client_configs, connection
from portal.customer.domain_words import record_views
from portal.customer.message_rows import shown_state
from portal.customer.reply_words import Meaning, meaning_of

LOOK_BACK = timedelta(minutes=30)
A_MOMENT = timedelta(seconds=2)
STOP_POLLING = 286  # htmx ends polling at this status

STAGES: tuple[tuple[str, str | Promise], ...] = (
    ("connected", _("Connected to us")),
    ("tls", _("Encrypted (STARTTLS)")),
    ("login", _("Logged in")),
    ("sender", _("Sender accepted")),
    ("accepted", _("Message accepted")),
    ("delivered", _("Delivered")),
)
HINTS: dict[str, str | Promise] = {
    "connected": _(
        "Nobody has connected yet. Check host name and port, and that your firewall lets the connection out."
    ),
    "tls": _(
        "Your server talks to us without encryption. Switch STARTTLS on (Postfix: smtp_tls_security_level = encrypt)."
    ),
    "login": _(
        "Your server has not logged in. Check user name and secret, and that it logs in at this smarthost."
    ),
    "sender": _(
        "No sender yet. The sender's domain must be one that you have proven, and this login must be allowed to use it."
    ),
    "accepted": _("The message was not handed over yet. See the reply."),
    "delivered": _("The message is with us and on its way."),
}


@dataclass(frozen=True, slots=True)
class Step:
    key: str
    title: str | Promise
    state: str  # done | bad | now | later
    at: datetime | None = None
    hint: str | Promise = ""
    reply: str = ""
    meaning: Meaning | None = None


@page("GET")
def setup(request: HttpRequest) -> HttpResponse:
    customer = access_customer(request)
    if may_write(current_membership(request)):
        customers.watch(customer)
    logins = list(customer.credentials.filter(block="").order_by("-created_at"))
    login = _chosen(logins, request.GET.get("login", ""))
    domains = list(customer.domains.order_by("-verified_at", "name"))
    context = {
        "logins": logins,
        "login": login,
        "domains": domains,
        "records": record_views(domains[0]) if domains else [],
        "configs": client_configs(login),
        "connection": connection(),
        "spf_host": settings.SMG.spf_host,
        **live_context(customer, [login.username for login in logins]),
    }
    return render(request, "customer/setup.html", context)


@page("GET")
def setup_live(request: HttpRequest) -> HttpResponse:
    """The live part alone; ends its own polling when the mail is delivered."""
    customer = access_customer(request)
    context = live_context(customer, list(customer.credentials.values_list("username", flat=True)))
    status = STOP_POLLING if context["finished"] and request.htmx else 200  # type: ignore[attr-defined]
    return render(request, "customer/parts/setup_live.html", context, status=status)


def live_context(customer: Customer, usernames: list[str]) -> dict[str, Any]:
    """The stages of the session that came furthest lately, joined with the message it handed over."""
    since = timezone.now() - LOOK_BACK
    noted = [
        *customer.setup_events.filter(at__gte=since).order_by("-id")[:200],
        *refused_logins(customer, usernames, since),
    ]
    best = best_session(sorted(noted, key=lambda event: event.at, reverse=True))
    message = _message(customer, best)
    steps = stages(best, message)
    return {"steps": steps, "finished": steps[-1].state == "done", "setup_message": message}


def refused_logins(customer: Customer, names: list[str], since: datetime) -> list[SetupEvent]:
    """Logins that failed before the relay could know whose server it was: found by the user name that was tried."""
    tried = Q(username__in=names) | Q(detail__username__in=names)
    refused = Refusal.objects.filter(tried, at__gte=since, customer=None, stage="auth").order_by("-id")[:5]
    return [event for refusal in refused for event in _failed_login(customer, refusal)]


def _failed_login(customer: Customer, refusal: Refusal) -> list[SetupEvent]:
    """The stages that such a session must have reached, and the reply it ended with."""
    reply = " ".join(part for part in (str(refusal.code), refusal.enhanced, refusal.text) if part)
    told = {"connected": "", "tls": "", "login": reply}
    return [
        SetupEvent(customer=customer, at=refusal.at, session=f"refusal {refusal.pk}", stage=stage, reply=text)
        for stage, text in reversed(told.items())
    ]


def best_session(events: list[SetupEvent]) -> list[SetupEvent]:
    """The newest session that accepted a message, else the newest one."""
    sessions: dict[str, list[SetupEvent]] = {}
    for event in events:
        sessions.setdefault(event.session, []).insert(0, event)
    done = [
        rows for rows in sessions.values() if any(row.stage == "accepted" and not row.reply for row in rows)
    ]
    return next(iter(done or sessions.values()), [])


def stages(events: list[SetupEvent], message: Message | None) -> list[Step]:
    """What was reached, what failed and why, what is expected next."""
    reached = {event.stage: event for event in events if not event.reply}
    failed = {event.stage: event for event in events if event.reply and event.stage not in reached}
    steps: list[Step] = []
    waiting = False
    for key, title in STAGES[:-1]:
        step = _step(key, title, reached.get(key), failed.get(key), waiting)
        waiting = waiting or step.state != "done"
        steps.append(step)
    return [*steps, _delivered(message, waiting)]


def _step(
    key: str, title: str | Promise, reached: SetupEvent | None, failed: SetupEvent | None, waiting: bool
) -> Step:
    if reached:
        return Step(key, title, "done", reached.at)
    if failed:
        code, enhanced, text = split_reply(failed.reply)
        return Step(key, title, "bad", failed.at, HINTS[key], failed.reply, meaning_of(code, enhanced, text))
    return Step(key, title, "later" if waiting else "now", hint="" if waiting else HINTS[key])


def _delivered(message: Message | None, waiting: bool) -> Step:
    key, title = STAGES[-1]
    recipient = message.recipients.first() if message else None
    if recipient is None:
        return Step(key, title, "later")
    if recipient.state == Recipient.StateChoice.DELIVERED:
        return Step(key, title, "done", recipient.settled_at)
    if shown_state(recipient) == "queued":
        return Step(key, title, "now", hint=HINTS[key])
    reply = f"{recipient.code or ''} {recipient.enhanced} {recipient.text}".strip()
    meaning = meaning_of(recipient.code, recipient.enhanced, recipient.text, recipient.reason)
    return Step(key, title, "bad", recipient.settled_at, "", reply, meaning)


def split_reply(reply: str) -> tuple[int, str, str]:
    """'550 5.7.1 No' -> (550, '5.7.1', 'No')."""
    code, _, rest = reply.partition(" ")
    enhanced, _, text = rest.partition(" ")
    if enhanced.count(".") == 2 and enhanced.replace(".", "").isdecimal():
        return int(code) if code.isdecimal() else 0, enhanced, text
    return int(code) if code.isdecimal() else 0, "", rest


def _message(customer: Customer, events: list[SetupEvent]) -> Message | None:
    """What the session handed over: named by the event, else the customer's message of that very moment."""
    accepted = next((event for event in events if event.stage == "accepted" and not event.reply), None)
    if accepted is None:
        return None
    if accepted.message:
        return Message.objects.filter(customer=customer, pk=accepted.message).first()
    begun, ended = min(event.at for event in events) - A_MOMENT, accepted.at + A_MOMENT
    ids = id_at(begun), id_at(ended)
    return customer.messages.filter(id__range=ids).order_by("-id").first()


def _chosen(logins: list[Credential], wanted: str) -> Credential | None:
    return next((login for login in logins if str(login.pk) == wanted), logins[0] if logins else None)
