"""manage.py tls_check DOMAIN: would forced TLS to this domain work? Asks all its servers, sends nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gateway.control.domain_checks import demo_zone
from gateway.rules.domain_names import AddressError, parse_domain
from gateway.tls.preflight import AddressReport, HostReport, PreflightReport, preflight_now


class Command(BaseCommand):
    help = (
        "Asks every mail server of a domain for STARTTLS and says whether each level of forced TLS would work. "
        "Exit status 1 when the level named by --level would not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("domain", help="recipient domain")
        parser.add_argument(
            "--level", choices=["encrypt", "verify", "dane"], help="fail unless this level works"
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            domain = parse_domain(options["domain"])
        except AddressError as error:
            raise CommandError(f"{options['domain']}: {error}") from error
        report = preflight_now(domain, settings.SMG, static=demo_zone())
        self.stdout.write(json.dumps(report.as_json()) if options["json"] else "\n".join(as_text(report)))
        level = options["level"]
        if level and report.verdicts[level].state != "works":
            raise CommandError(f"{level}: {report.verdicts[level].text}")


def as_text(report: PreflightReport) -> Iterator[str]:
    """The report for a terminal."""
    yield f"{report.domain}: MTA-STS {report.sts_mode}, MX {'signed' if report.dnssec else 'not signed'} with DNSSEC"
    if report.problem:
        yield f"  {report.problem}"
    if report.sts_problem:
        yield f"  MTA-STS: {report.sts_problem}"
    for host in report.hosts:
        yield from _host_lines(host)
    for name, verdict in report.verdicts.items():
        yield f"{name:<8} {verdict.state}{': ' + verdict.text if verdict.text else ''}"


def _host_lines(host: HostReport) -> Iterator[str]:
    yield f"{host.preference:>3} {host.host} (DANE: {host.dane}){': ' + host.problem if host.problem else ''}"
    for address in host.addresses:
        yield from _address_lines(address)


def _address_lines(address: AddressReport) -> Iterator[str]:
    if address.problem:
        yield f"      {address.ip}: {address.problem}"
        return
    if not address.starttls:
        yield f"      {address.ip}: no STARTTLS"
        return
    yield f"      {address.ip}: {address.version} {address.cipher}"
    if address.certificate is not None:
        shown = address.certificate
        yield f"        {', '.join(shown.names)}; until {shown.not_after:%Y-%m-%d} ({shown.days_left} days)"
        yield f"        issued by {shown.issuer}"
        yield f"        SHA-256 {shown.fingerprint}"
    for name, level in address.levels.items():
        yield f"        {name:<8} {'ok' if level.ok else level.text}"
