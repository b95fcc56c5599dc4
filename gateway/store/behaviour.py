"""What a login sends, counted: its last hour and what was usual before. Reads only.

Every query goes along an index of (credential, id) or of one message or address, and looks at a bounded number of rows:
what it costs does not grow with the log. Busy logins are judged by an even sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count

from gateway import rows
from gateway.models import AuditEntry, Complaint, Credential, Message, Recipient
from gateway.rules.arf import COMPLAINTS
from gateway.rules.behaviour import Baseline, Limits, Traffic, network_of
from gateway.rules.ids import id_at, ids_in

MAX_COUNTED = 100_000  # messages
MAX_MESSAGES = 1000  # looked at
MAX_RECIPIENTS = 2000
MAX_ADDRESSES = 200  # looked up one by one
ACTIVE = timedelta(hours=3)  # a session lasts two hours at most: who logged in before cannot be sending
HOUR_IDS = ids_in(timedelta(hours=1))


def active_logins(since: datetime, now: datetime, least: int) -> list[int]:
    """Ids of unblocked logins that sent to at least `least` recipients since then."""
    sql = (
        "SELECT c.id FROM gateway_credential c WHERE c.block = '' AND c.last_used_at >= %s AND %s <="
        " (SELECT SUM(m.recipient_count) FROM (SELECT recipient_count FROM gateway_message"
        " WHERE credential_id = c.id AND id >= %s ORDER BY id DESC LIMIT %s) m)"
    )
    values = [now - ACTIVE, least, id_at(since), least]
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.adapt(value) for value in values])
        return [row[0] for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Login:
    """A login that may be judged, and since when: what was before a release of the fuse is settled."""

    id: int
    customer_id: int
    since: datetime
    complaints_since: datetime  # complaints about messages from then on are judged
    released_at: datetime | None = None  # within the window of complaints


def login(credential_id: int, now: datetime, limits: Limits) -> Login | None:
    """None for a login that is gone or blocked already."""
    found = Credential.objects.filter(id=credential_id, block="").first()
    if found is None:
        return None
    since = now - timedelta(seconds=limits.window_s)
    complaints_since = now - timedelta(hours=limits.complaint_window_h)
    released = (
        AuditEntry.objects.filter(
            customer_id=found.customer_id,
            action="credential.release",
            target=found.username,
            at__gt=min(since, complaints_since),
        )
        .order_by("-id")
        .values_list("at", flat=True)
        .first()
    )
    if released is not None:
        since, complaints_since = max(since, released), max(complaints_since, released)
    return Login(found.id, found.customer_id, since, complaints_since, released)


def traffic(which: Login) -> Traffic:
    """What the login sent since the window began, and the complaints about what it sent in theirs."""
    first, last = id_at(which.since), _END
    sent = _traffic(which, first, last, new_before=first)
    return _with_complaints(sent, which.id, id_at(which.complaints_since), last)


def baseline(which: Login, limits: Limits) -> Baseline:
    """What it sent before."""
    until = id_at(which.since)
    since = id_at(which.since - timedelta(days=limits.baseline_days))
    usual = _traffic(which, since, until, new_before=None)
    oldest = Message.objects.filter(credential=which.id, id__gte=since, id__lt=until).order_by("id")
    began = oldest.values_list("received_at", flat=True).first()
    if began is None:
        return Baseline()
    span_h = (which.since - began).total_seconds() / 3600
    per_message = usual.recipients / usual.messages
    usual = _with_complaints(usual, which.id, since, id_at(which.complaints_since))
    return Baseline(usual, round(_busiest_hour(which.id, since, until) * per_message), span_h)


_END = 1 << 62


def _traffic(which: Login, first: int, last: int, *, new_before: int | None) -> Traffic:
    messages = _count(which.id, first, last)
    ids = _sample(which.id, first, last, 1 + messages // MAX_MESSAGES)
    found = Message.objects.filter(id__in=ids).values_list("recipient_count", "category", "client_ip")
    looked_at = list(found)
    recipients = _recipients(ids)
    addresses = sorted({address for address, *_ in recipients})[:MAX_ADDRESSES]
    settled = [row for row in recipients if row[2] in ("delivered", "bounced", "expired")]
    return Traffic(
        messages=messages,
        recipients=round(sum(row[0] for row in looked_at) * messages / len(looked_at)) if looked_at else 0,
        sampled=len(looked_at),
        bad=sum(row[1] != Message.CategoryChoice.CLEAN for row in looked_at),
        networks=Counter(network_of(row[2]) for row in looked_at if row[2]),
        addresses=len(addresses),
        new=_new(which.customer_id, addresses, new_before) if new_before is not None else 0,
        domains=len({domain for _, domain, *_ in recipients}),
        settled=len(settled),
        unknown=sum(state == "bounced" and reason == "unknown_user" for _, _, state, reason in settled),
    )


def _with_complaints(sent: Traffic, credential_id: int, first: int, last: int) -> Traffic:
    """With the complaints about the login's messages of this range of ids, of each message at most as many as it has
    recipients: who got one mail cannot accuse its sender by a hundred reports. Most looks end here."""
    found = Complaint.objects.filter(
        credential=credential_id, message__gte=first, message__lt=last, kind__in=COMPLAINTS
    )
    by_message = found.order_by().values_list("message", "message__recipient_count")
    counted = by_message.annotate(number=Count("pk"))[:MAX_MESSAGES]
    number = sum(min(most, reported) for _message, most, reported in counted)
    if not number:
        return sent
    per_message = sent.recipients / max(sent.messages, 1)
    return replace(
        sent, complaints=number, complainable=round(_count(credential_id, first, last) * per_message)
    )


def _count(credential_id: int, first: int, last: int) -> int:
    sql = (
        "SELECT COUNT(*) FROM (SELECT 1 AS one FROM gateway_message"
        " WHERE credential_id = %s AND id >= %s AND id < %s LIMIT %s) m"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [credential_id, first, last, MAX_COUNTED])
        number: int = cursor.fetchone()[0]
        return number


def _sample(credential_id: int, first: int, last: int, step: int) -> list[int]:
    """Every `step`-th message, the newest first."""
    sql = (
        "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS place FROM (SELECT id FROM gateway_message"
        " WHERE credential_id = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT %s) m) n WHERE place %% %s = 0"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [credential_id, first, last, MAX_COUNTED, step])
        return [row[0] for row in cursor.fetchall()]


def _recipients(message_ids: Sequence[int]) -> list[tuple[str, str, str, str]]:
    """(address, domain, state, reason) of the messages' recipients, not more than enough of them."""
    found = Recipient.objects.filter(message_id__in=message_ids).order_by()
    return list(found.values_list("address", "domain", "state", "reason")[:MAX_RECIPIENTS])


def _new(customer_id: int, addresses: Sequence[str], before: int) -> int:
    """How many of the addresses the customer has never written to before."""
    sql = "SELECT 1 FROM gateway_recipient WHERE customer_id = %s AND address = %s AND id < %s LIMIT 1"
    number = 0
    with connection.cursor() as cursor:
        for address in addresses:
            cursor.execute(sql, [customer_id, address, before])
            number += cursor.fetchone() is None
    return number


def _busiest_hour(credential_id: int, first: int, last: int) -> int:
    """Messages of the login's busiest hour (UTC)."""
    sql = (
        "SELECT COUNT(*) AS number FROM (SELECT id FROM gateway_message WHERE credential_id = %s AND id >= %s"
        " AND id < %s ORDER BY id DESC LIMIT %s) m GROUP BY id / %s ORDER BY number DESC LIMIT 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [credential_id, first, last, MAX_COUNTED, HOUR_IDS])
        row = cursor.fetchone()
        return row[0] if row else 0
