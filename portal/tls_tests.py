"""Asking a partner's mail servers in the background: start a test, run it, read its verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_q.tasks import async_task

from gateway.control import domain_checks, tls_probes, tls_rules
from gateway.models import Customer, TlsRule
from gateway.tls.preflight import FAILS, PreflightReport, preflight_now
from portal.models import TlsTest
from portal.tls_models import LATE

KEPT = timedelta(days=1)
AT_ONCE = 3  # of one customer: the background is everybody's


def start(
    customer: Customer, domain: str, *, rule: TlsRule | None = None, values: dict[str, Any] | None = None
) -> TlsTest:
    """Have the servers of a domain asked; the one that is running already serves again. Raises ValidationError."""
    now = timezone.now()
    customer.tls_tests.filter(asked_at__lt=now - KEPT).delete()
    running = list(customer.tls_tests.filter(done_at=None, asked_at__gt=now - LATE))
    for there in running:
        if (there.domain, there.rule_id) == (domain, rule.pk if rule else None):
            there.values = values or {}
            there.save(update_fields=["values"])
            return there
    if len(running) >= AT_ONCE:
        raise ValidationError(_("Three tests are running. Wait for one of them to end."))
    test: TlsTest = customer.tls_tests.create(domain=domain, rule=rule, values=values or {})
    async_task("portal.tls_tests.run", test.pk, timeout=120)
    return test


def run(pk: int) -> str:
    """The background's part. Returns what the task log shows."""
    test = TlsTest.objects.select_related("rule").filter(pk=pk, done_at=None).first()
    if test is None:
        return "nothing to test"
    report = _ask(test)
    test.report, test.done_at = report.as_json(), timezone.now()
    test.save(update_fields=["report", "done_at"])
    if test.rule is not None:
        tls_rules.keep_probe(test.rule, report.probe())
    return f"{test.domain} tested"


def probe_of(test: TlsTest, level: str) -> dict[str, Any]:
    """The short form that is kept with a rule, as PreflightReport.probe makes it."""
    report = test.report
    verdict = report["verdicts"].get(level, {"state": FAILS, "text": report["problem"]})
    return {
        "state": verdict["state"],
        "checked_at": report["at"],
        "expires_at": report["expires_at"],
        "problem": verdict["text"],
    }


def _ask(test: TlsTest) -> PreflightReport:
    if test.rule is not None and not test.rule.recipient_domain.startswith("."):
        return tls_probes.probe(tls_probes.as_policy(test.rule))
    return preflight_now(test.domain.lstrip("."), settings.SMG, static=domain_checks.demo_zone())
