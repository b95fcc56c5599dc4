"""The daily test of forced TLS rules: the partner's servers are asked again, and the customer hears in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone

from gateway.control import tls_rules
from gateway.control.domain_checks import demo_zone
from gateway.models import TlsRule
from gateway.rules.policy import TlsRulePolicy
from gateway.rules.tls_warnings import judge, letter
from gateway.rules.types import OnFailure, TlsLevel
from gateway.tls.preflight import PreflightReport, preflight_now

EVERY = timedelta(hours=23)  # an hourly job then tests each rule about once a day
AT_ONCE = 200  # rules of one run
PARALLEL = 8


def check_due() -> str:
    """Test every rule whose last test is a day old; run by the schedule every hour. Returns what happened."""
    now = timezone.now()
    due = [rule for rule in _testable() if _is_due(rule, now)][:AT_ONCE]
    with ThreadPoolExecutor(PARALLEL) as pool:
        reports = list(pool.map(probe, [as_policy(rule) for rule in due]))
    warned = sum(_keep(rule, report, now) for rule, report in zip(due, reports, strict=True))
    return f"{len(due)} rules tested, {warned} warnings"


def probe(rule: TlsRulePolicy) -> PreflightReport:
    """Would this very rule be met now? Blocks up to 45 s; touches no database, so it may run in any thread."""
    return preflight_now(rule.recipient_domain, settings.SMG, rule, demo_zone())


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
    # '.bank.example' names no servers of its own.
    rules = TlsRule.objects.exclude(recipient_domain__startswith=".").filter(
        customer__suspended_at__isnull=True
    )
    return list(rules.select_related("customer").order_by("pk"))


def _is_due(rule: TlsRule, now: datetime) -> bool:
    checked = rule.probe.get("checked_at")
    return not checked or datetime.fromisoformat(checked) <= now - EVERY


def _keep(rule: TlsRule, report: PreflightReport, now: datetime) -> bool:
    """True when the customer was written to. The probe is kept first: a mail that fails must not come every hour."""
    judged = judge(rule.probe, report.probe(), rule.level, now)
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
