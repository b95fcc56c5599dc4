"""What our own records say before a request is made: volumes, suspects, other lists, earlier requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import QuerySet, Sum
from django.utils import timezone

from blacklist.models import DelistingTicket, Listing, Target
from blacklist.rules.prechecks import Check, check_share
from gateway.models import Credential, DkimKey, HourlyCount, Message, NdrReport, Recipient, SourceNetwork

CURVE = timedelta(hours=72)
DAY = timedelta(hours=24)
SUSPECTS = 5
WIDE_V4, WIDE_V6 = 24, 48


def gather(ticket: DelistingTicket) -> list[Check]:
    """All checks that need no look-up."""
    target = ticket.listing.target
    now = timezone.now()
    return [
        *_volume(target, now),
        *_signed(target, now),
        _stopped(target, now),
        _relay(),
        _bounces(now),
        _queue(target),
        _other_lists(ticket.listing),
        _ours(target),
        _last_request(ticket),
    ]


def _counts(target: Target, now: datetime) -> QuerySet[HourlyCount]:
    """The hours that concern a target: its domain's, its customers', or for a gateway everybody's."""
    counts = HourlyCount.objects.filter(hour__gte=now - CURVE, hour__lte=now)
    if target.kind == "domain" and target.gateway_id is None:
        return counts.filter(domain=target.value)
    if target.gateway_id is None:
        return counts.filter(customer__in=target.customers.all())
    return counts


def _volume(target: Target, now: datetime) -> Iterator[Check]:
    """The last 72 hours by customer, the most suspect first."""
    rows = (
        _counts(target, now)
        .values("customer__name")
        .annotate(sent=Sum("accepted"), bad=Sum("spam") + Sum("suspect"), lost=Sum("bounced"))
    )
    ranked = sorted(rows, key=lambda row: (row["bad"] or 0, row["lost"] or 0, row["sent"] or 0), reverse=True)
    for row in ranked[:SUSPECTS]:
        bad, sent, lost = row["bad"] or 0, row["sent"] or 0, row["lost"] or 0
        suspicious = bool(sent) and (bad > 0.05 * sent or lost > 0.1 * sent)
        text = (
            f"{row['customer__name']}: {sent} messages in 72 h, {bad} suspect or spam, {lost} undeliverable."
        )
        yield Check("volume", not suspicious, text, row["customer__name"])
    if not ranked:
        yield Check("volume", None, "No mail in the last 72 h.")


def _signed(target: Target, now: datetime) -> Iterator[Check]:
    if target.role == "customer_ip":
        return
    day = {"received_at__gte": now - DAY, "received_at__lte": now}
    sent = Message.objects.filter(**day, kind=Message.Kind.CUSTOMER)
    if target.gateway_id is None:
        sent = sent.filter(sender_domain=target.value)
    keyed = DkimKey.objects.filter(state="active").values("domain__name")
    signed = sent.filter(sender_domain__in=keyed).count()
    yield check_share("dkim", signed, sent.count(), "were signed with a key of their own domain", 0.8)


def _stopped(target: Target, now: datetime) -> Check:
    stopped = Credential.objects.exclude(block="").filter(blocked_at__gte=now - timedelta(days=7))
    if target.gateway_id is None:
        stopped = stopped.filter(customer__in=target.customers.all())
    names = [
        f"{one.username} ({one.blocked_at:%Y-%m-%d %H:%M} UTC, {one.block_reason or one.block})"
        for one in stopped[:SUSPECTS]
    ]
    if not names:
        return Check("accounts", None, "No login was stopped in the last 7 days.")
    return Check("accounts", True, "Stopped logins: " + "; ".join(names))


def _relay() -> Check:
    """Nobody relays without a login, except networks that support registered; wide ones are worth a look."""
    wide = [
        network.network
        for network in SourceNetwork.objects.filter(may_relay=True)
        if int(network.network.partition("/")[2] or 128) < (WIDE_V6 if ":" in network.network else WIDE_V4)
    ]
    if wide:
        return Check(
            "open_relay", False, f"Wide networks may relay without a login: {', '.join(wide[:SUSPECTS])}."
        )
    return Check("open_relay", True, "Relaying needs a login or a registered network.")


def _bounces(now: datetime) -> Check:
    count = NdrReport.objects.filter(at__gte=now - DAY, at__lte=now, report__isnull=False).count()
    return Check("backscatter", True, f"Reports go only to senders who were logged in ({count} in 24 h).")


def _queue(target: Target) -> Check:
    waiting = Recipient.objects.filter(
        state__in=("queued", "held"), message__category__in=("suspect", "spam")
    )
    if target.gateway_id is None:
        waiting = waiting.filter(customer__in=target.customers.all())
    count = waiting.count()
    return Check("queue", count == 0, f"{count} suspect recipients wait in the queue.")


def _other_lists(listing: Listing) -> Check:
    others = Listing.objects.filter(target=listing.target, delisted_at__isnull=True).exclude(pk=listing.pk)
    names = list(others.values_list("provider__name", flat=True))
    if not names:
        return Check("other_lists", True, "On no other list.")
    return Check(
        "other_lists", False, f"Also on {', '.join(names)}; some operators want those cleared first."
    )


def _ours(target: Target) -> Check:
    if target.gateway is not None:
        return Check("ours", True, f"It is our gateway {target.gateway.name}.")
    names = list(target.customers.values_list("name", flat=True))
    return Check(
        "ours",
        bool(names) or None,
        f"It belongs to {', '.join(names)}." if names else "Nobody is known to own it.",
    )


def _last_request(ticket: DelistingTicket) -> Check:
    earlier = DelistingTicket.objects.filter(
        listing__target=ticket.listing.target,
        listing__provider=ticket.listing.provider,
        requested_at__isnull=False,
    ).order_by("-requested_at")
    last = earlier.first()
    if last is None or last.requested_at is None:
        return Check("last_request", True, "No earlier request to this operator.")
    return Check(
        "last_request", None, f"Last request: {last.requested_at:%Y-%m-%d %H:%M} UTC via {last.request_via}."
    )
