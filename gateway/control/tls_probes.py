"""The daily test of forced TLS rules: the partner's servers are asked again, and the customer hears in time.

A rule for '.bank.example' names no servers: the domains below it are asked to which its mail went in the last 30 days.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Max
from django.utils import timezone

from gateway.control import tls_rules
from gateway.control.domain_checks import demo_zone
from gateway.models import Recipient, TlsRule
from gateway.rules.policy import TlsRulePolicy
from gateway.rules.tls_warnings import judge, letter, together
from gateway.rules.types import OnFailure, TlsLevel
from gateway.tls.preflight import PreflightReport, preflight_now

EVERY = timedelta(hours=23)  # an hourly job then tests each rule about once a day
AT_ONCE = 200  # rules of one run
PARALLEL = 8
MAILED = timedelta(days=30)
MAX_BELOW = 20  # domains of one '.suffix' rule, those with the latest mail


def check_due() -> str:
    """Test every rule whose last test is a day old; run by the schedule every hour. Returns what happened."""
    now = timezone.now()
    due = [rule for rule in _testable() if _is_due(rule, now)][:AT_ONCE]
    asked = [(rule, domain) for rule in due for domain in _domains(rule, now)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        reports = list(pool.map(lambda pair: probe(as_policy(pair[0]), pair[1]), asked))
    by_rule: dict[int, list[PreflightReport]] = {rule.pk: [] for rule in due}
    for (rule, _), report in zip(asked, reports, strict=True):
        by_rule[rule.pk].append(report)
    warned = sum(_keep(rule, by_rule[rule.pk], now) for rule in due)
    return f"{len(due)} rules tested, {warned} warnings"


def probe(rule: TlsRulePolicy, domain: str = "") -> PreflightReport:
    """Would this very rule be met now, at its own domain or one below it? Blocks up to 45 s; touches no database, so it
    may run in any thread."""
    return preflight_now(domain or rule.recipient_domain, settings.SMG, rule, demo_zone())


def as_policy(rule: TlsRule) -> TlsRulePolicy:
    return TlsRulePolicy(
        id=rule.pk,
        customer_id=rule.customer_id,
        sender_domain=rule.sender_domain,
        recipient_domain=rule.recipient_domain,
        level=TlsLevel(rule.level),
        on_failure=OnFailure(rule.on_failure),
        min_version=rule.min_version,
        fingerprint=rule.fingerprint,
        shadow=rule.shadow,
    )


def _testable() -> list[TlsRule]:
    rules = TlsRule.objects.filter(customer__suspended_at__isnull=True)
    return list(rules.select_related("customer").order_by("pk"))


def _domains(rule: TlsRule, now: datetime) -> list[str]:
    """Whose servers the rule is about; for a suffix none when no mail went there."""
    if not rule.recipient_domain.startswith("."):
        return [rule.recipient_domain]
    mailed = Recipient.objects.filter(
        customer=rule.customer_id,
        domain__endswith=rule.recipient_domain,
        message__received_at__gte=now - MAILED,
    )
    if rule.sender_domain:
        mailed = mailed.filter(message__sender_domain=rule.sender_domain)
    latest = mailed.values("domain").annotate(latest=Max("id")).order_by("-latest")
    return [row["domain"] for row in latest[:MAX_BELOW]]


def _is_due(rule: TlsRule, now: datetime) -> bool:
    checked = rule.probe.get("checked_at")
    return not checked or datetime.fromisoformat(checked) <= now - EVERY


def _keep(rule: TlsRule, reports: list[PreflightReport], now: datetime) -> bool:
    """True when the customer was written to. The probe is kept first: a mail that fails must not come every hour."""
    probes = {report.domain: report.probe() for report in reports}
    found = together(probes, now) if rule.recipient_domain.startswith(".") else reports[0].probe()
    judged = judge(rule.probe, found, rule.level, now)
    tls_rules.keep_probe(rule, judged.probe)
    if not judged.warning or rule.shadow or not rule.customer.alert_email:
        return False
    subject, text = letter(
        judged.warning,
        rule.customer.language,
        domain=rule.recipient_domain,
        level=rule.level,
        on_failure=rule.on_failure,
        probe=judged.probe,
        url=f"{settings.SMG.public_url}/tls/",
    )
    send_mail(subject, text, None, [rule.customer.alert_email])
    return True
