"""Ten days of blacklist monitoring for the demo, lived through by the product's own code: the checks of every morning,
their second tries, and what support and customers did about what was found. `blacklist/control/demo.py` says what the
lists answered on which day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from blacklist.control import alerts, desk, mutes, runs, schedules
from blacklist.control import demo as lists
from blacklist.control.targets import apply_targets
from blacklist.models import Alert, BlacklistSettings, CheckRun, DelistingTicket, Provider
from gateway.control import customers, domain_checks
from gateway.models import Customer
from portal.demo import clock
from portal.demo.cast import SUPPORT

DAYS = 10
SECOND_TRY = timedelta(minutes=35)
ALICE = "alice@acme.example"


def make_history(now: datetime) -> int:
    """Live through the days; returns how many checks were made. Does nothing where there were checks already."""
    if CheckRun.objects.exists():
        return 0
    with transaction.atomic():
        with clock.at(schedules.slot_of(now) - timedelta(days=DAYS)):
            watch()
        for days_ago in reversed(range(DAYS)):
            _day(days_ago, schedules.slot_of(now - timedelta(days=days_ago)), now)
    return CheckRun.objects.count()


def watch() -> None:
    """What is asked about, besides proven domains. The demo's gateways have no addresses of this machine, so the ones
    that the world would see are named here."""
    addresses = {"mta01": lists.MTA01, "mta02": lists.MTA02, "mta03": lists.MTA03}
    apply_targets(
        [{"value": value, "role": "gateway", "gateway": name} for name, value in addresses.items()],
        actor=SUPPORT,
    )
    acme, globex = (Customer.objects.get(slug=slug) for slug in ("acme", "globex"))
    for customer, network, note in (
        (acme, lists.ACME_SERVER, "Mail server"), (acme, lists.ACME_OFFICE, "Office, behind the firewall"),
        (acme, lists.ACME_SIX, "Mail server"), (globex, lists.GLOBEX_SERVER, "Exchange"),
    ):  # fmt: skip
        if not customer.networks.filter(network=network).exists():
            customers.add_network(customer, actor=SUPPORT, network=network, note=note)
    known = BlacklistSettings.load()
    known.operator, known.contact_mail, known.phone = "SMG Example Hosting", SUPPORT, "+49 30 5550100"
    known.hoster_mail = "abuse@network.example"
    known.save(update_fields=["operator", "contact_mail", "phone", "hoster_mail"])


def _day(days_ago: int, morning: datetime, now: datetime) -> None:
    options = _options(days_ago)
    with clock.at(morning + timedelta(seconds=4), letters=days_ago == 0):
        schedules.daily(options)
    if morning + SECOND_TRY < now:
        with clock.at(morning + SECOND_TRY, letters=days_ago == 0):
            schedules.housekeeping(options)
    for step in (step for step in STEPS if step.days_ago == days_ago):
        with clock.at(morning + timedelta(hours=step.hours)):
            step.act(days_ago)


def _options(days_ago: int) -> runs.Options:
    """The check as it was on that day. The resolver is made here, because it reads the database."""
    resolver = domain_checks.make_resolver()
    return runs.Options(
        open_asker=lists.demo_lists(days_ago), pace=lists.PACE, confirm_after_s=0.0, resolver=lambda: resolver
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What people did, so many hours after the check of a day that is over; called with the day."""

    days_ago: int
    hours: float
    act: Callable[[int], object]


def _ticket(slug: str, target: str) -> DelistingTicket:
    return DelistingTicket.objects.select_related("listing__provider", "listing__target__gateway").get(
        listing__provider__slug=slug, listing__target__value=target
    )


def _take(slug: str, target: str, comment: str = "") -> Callable[[int], None]:
    def act(_: int) -> None:
        ticket = _ticket(slug, target)
        desk.assign(ticket, actor=SUPPORT)
        if comment:
            desk.comment(ticket, text=comment, actor=SUPPORT, public=False)

    return act


def _fixed(slug: str, target: str, cause: str, cause_text: str, action: str) -> Callable[[int], None]:
    def act(_: int) -> None:
        desk.confirm_cause(
            _ticket(slug, target),
            cause=cause,
            cause_text=cause_text,
            action_text=action,
            fixed_at=None,
            actor=SUPPORT,
        )

    return act


def _submitted(slug: str, target: str, reference: str) -> Callable[[int], None]:
    return lambda _: desk.mark_submitted(_ticket(slug, target), reference=reference, actor=SUPPORT)


def _mailed(slug: str, target: str) -> Callable[[int], None]:
    return lambda _: desk.send_request(_ticket(slug, target), actor=SUPPORT)


def _refused(_: int) -> None:
    answer = "We still see spam from this address. Please look again before you ask."
    desk.mark_rejected(_ticket("nordspam-ip", lists.MTA03), answer=answer, actor=SUPPORT)


def _left_alone(_: int) -> None:
    until = timezone.now() + timedelta(days=14)
    reason = "Suspected spam leaves here on purpose; the list forgets by itself."
    desk.accept_risk(_ticket("uceprotect-1", lists.MTA03), until=until, reason=reason, actor=SUPPORT)


def _asked(_: int) -> None:
    text = (
        "A computer behind 198.51.100.25 talks to the control servers of a bot network. Please look at the firewall's "
        "log for connections that no person made, and tell us what you found."
    )
    ticket = _ticket("spamhaus-zen", lists.ACME_OFFICE)
    desk.assign(ticket, actor=SUPPORT)
    desk.ask_customer(ticket, text=text, actor=SUPPORT)


def _muted(_: int) -> None:
    mutes.mute(
        Customer.objects.get(slug="acme"), Provider.objects.get(slug="uceprotect-3"),
        reason="Lists whole providers, not us", until=timezone.now() + timedelta(days=90), actor=ALICE,
    )  # fmt: skip


def _read(_: int) -> None:
    """ACME has seen what came until now."""
    for alert in Alert.objects.filter(customers__slug="acme", acknowledged_at__isnull=True):
        alerts.acknowledge(alert, actor=ALICE)


def _checked_open(days_ago: int) -> None:
    schedules.recheck_open(_options(days_ago))


def _checked_by_hand(days_ago: int) -> None:
    runs.start(CheckRun.Kind.MANUAL, actor=SUPPORT, options=_options(days_ago))


SHOP = "A login of the web shop was used by somebody else."
STEPS = (
    Step(9, 3.0, _muted),
    Step(8, 0.7, _take("barracuda-brbl", lists.MTA01, "Volume of one login went up at 02:10 UTC, see its messages.")),
    Step(8, 1.2, _fixed("barracuda-brbl", lists.MTA01, "compromised", SHOP, "We stopped the login.")),
    Step(8, 1.5, _submitted("barracuda-brbl", lists.MTA01, "BBR21763905671")),
    Step(7, 5.0, _read),
    Step(6, 2.0, _fixed("nordspam-ip", lists.MTA03, "newsletter", "A customer mailed to a bought list.",
                        "We asked the customer to stop it.")),
    Step(6, 2.2, _mailed("nordspam-ip", lists.MTA03)),
    Step(5, 3.0, _left_alone),
    Step(3, 2.0, _fixed("nordspam-domain", lists.NEWS, "newsletter", "A newsletter went to old addresses.",
                        "The customer removed all addresses without a confirmed opt-in.")),
    Step(3, 2.5, _mailed("nordspam-domain", lists.NEWS)),
    Step(2, 1.0, _take("surbl-multi", lists.NEWS)),
    Step(2, 2.0, _fixed("surbl-multi", lists.NEWS, "newsletter", "A newsletter went to old addresses.",
                        "The customer removed all addresses without a confirmed opt-in.")),
    Step(2, 2.6, _submitted("surbl-multi", lists.NEWS, "SURBL 48213")),
    Step(2, 4.0, _asked),
    Step(2, 4.2, _refused),
    Step(2, 4.5, _checked_open),
    Step(1, 1.0, _take("mailspike-bl", lists.MTA02, "A burst of one login at 03:00, see its messages.")),
    Step(1, 1.5, _fixed("mailspike-bl", lists.MTA02, "compromised", SHOP, "We stopped the login.")),
    Step(1, 1.8, _submitted("mailspike-bl", lists.MTA02, "removal page, confirmed at once")),
    Step(1, 2.0, _take("sem-black", lists.MTA03, "Looking for the customer behind the spam.")),
    Step(1, 4.0, _fixed("psbl", lists.GLOBEX_SERVER, "backscatter", "Bounces went to forged senders.",
                        "Unknown recipients are refused during the SMTP session now.")),
    Step(1, 6.0, _checked_by_hand),
)  # fmt: skip
assert all(step.days_ago for step in STEPS), "today's morning may be minutes ago"  # noqa: S101
