"""TLS reports (RFC 8460): what happened to our attempts to encrypt, per policy domain and day, as JSON and as mail.

Pure: counts come in, texts go out. `gateway/tls/tls_rpt.py` counts and knows where reports go.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from types import MappingProxyType
from typing import Any

from gateway.rules.route_types import TlsObservation

MAX_ADDRESSES = 5
MAX_DETAILS = 500

_MAILTO = re.compile(r"mailto:([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of failure-details (section 4.3), without its count."""

    result_type: str
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_ip: str = ""
    reason: str = ""  # additional-information: our own sentence


@dataclass(frozen=True, slots=True)
class PolicyCount:
    """All sessions of one day under one policy of one domain."""

    domain: str
    kind: str  # tlsa | sts | no-policy-found
    strings: tuple[str, ...] = ()
    mx_patterns: tuple[str, ...] = ()  # sts only
    successes: int = 0
    failures: tuple[tuple[Failure, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SessionCount:
    """How many sessions of one day ended the same way at one host; `result` is 'success' or a result type."""

    domain: str
    kind: str
    result: str
    host: str
    sessions: int


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """What a domain's policy says, for its owner to recognise it."""

    strings: tuple[str, ...] = ()
    mx_patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who we are in reports."""

    organization: str
    hostname: str
    contact: str  # an address


_KINDS = {"dane": "tlsa", "mta-sts": "sts", "opportunistic": "no-policy-found"}


def report_kind(seen: TlsObservation) -> str | None:
    """Under which policy type a session counts, None when it does not. Forced rules and smart hosts are our customers'
    and our own business, not the domain's. A policy in testing mode is seen twice, as a shadow and for real: the shadow
    is the one that counts."""
    if is_rule_shadow(seen) or (seen.demand.shadow is not None and seen.demand.shadow.source == "mta-sts"):
        return None
    return _KINDS.get(seen.demand.source)


def is_rule_shadow(seen: TlsObservation) -> bool:
    """Whether this is what a customer's rule in shadow mode would have made of a message."""
    return seen.shadow and seen.demand.source == "rule"


def policies(
    counts: Iterable[SessionCount], texts: Mapping[str, PolicyTexts] = MappingProxyType({})
) -> list[PolicyCount]:
    """The counts of one domain and day by policy type; `texts` by type."""
    by_kind: dict[str, list[SessionCount]] = {}
    for count in counts:
        by_kind.setdefault(count.kind, []).append(count)
    return [_policy(kind, found, texts.get(kind, PolicyTexts())) for kind, found in sorted(by_kind.items())]


def _policy(kind: str, counts: Sequence[SessionCount], texts: PolicyTexts) -> PolicyCount:
    failed = [one for one in counts if one.result != "success"]
    return PolicyCount(
        domain=counts[0].domain,
        kind=kind,
        strings=texts.strings,
        mx_patterns=texts.mx_patterns,
        successes=sum(one.sessions for one in counts if one.result == "success"),
        failures=tuple((Failure(one.result, receiving_host=one.host), one.sessions) for one in failed),
    )


def report_addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """The mail addresses of the one TLSRPT record at '_smtp._tls.<domain>' (section 3); () when nobody asks, or only
    by HTTPS. Addresses are strict: the text is a stranger's and ends in our RCPT."""
    records = [text for text in texts if re.match(r"v=TLSRPTv1\s*;", text)]
    if len(records) != 1:
        return ()
    fields = (field.strip().partition("=") for field in records[0].split(";")[1:])
    uris = next((value for name, _, value in fields if name.strip() == "rua"), "")
    found = (
        _MAILTO.fullmatch(uri.strip().partition("?")[0].replace("%2C", "").strip()) for uri in uris.split(",")
    )
    return tuple(dict.fromkeys(match.group(1) for match in found if match))[:MAX_ADDRESSES]


def report_id(day: date, domain: str, hostname: str) -> str:
    return f"{day.isoformat()}T00:00:00Z_{domain}@{hostname}"


def report_json(
    day: date, domain: str, policies: Sequence[PolicyCount], reporter: Reporter
) -> dict[str, Any]:
    """The report of one day (UTC) for one policy domain, section 4.4."""
    return {
        "organization-name": reporter.organization,
        "date-range": {
            "start-datetime": f"{day.isoformat()}T00:00:00Z",
            "end-datetime": f"{day.isoformat()}T23:59:59Z",
        },
        "contact-info": reporter.contact,
        "report-id": report_id(day, domain, reporter.hostname),
        "policies": [_policy_json(policy) for policy in policies],
    }


def _policy_json(policy: PolicyCount) -> dict[str, Any]:
    about: dict[str, Any] = {"policy-type": policy.kind, "policy-domain": policy.domain}
    if policy.strings:
        about["policy-string"] = list(policy.strings)
    if policy.mx_patterns:
        about["mx-host"] = list(policy.mx_patterns)
    found: dict[str, Any] = {
        "policy": about,
        "summary": {
            "total-successful-session-count": policy.successes,
            "total-failure-session-count": sum(count for _, count in policy.failures),
        },
    }
    if policy.failures:
        found["failure-details"] = [_failure_json(*one) for one in policy.failures[:MAX_DETAILS]]
    return found


def _failure_json(failure: Failure, count: int) -> dict[str, Any]:
    fields = {
        "result-type": failure.result_type,
        "sending-mta-ip": failure.sending_ip,
        "receiving-mx-hostname": failure.receiving_host,
        "receiving-ip": failure.receiving_ip,
        "additional-information": failure.reason,
    }
    return {**{name: value for name, value in fields.items() if value}, "failed-session-count": count}


def report_mail(
    day: date, domain: str, recipient: str, report: dict[str, Any], reporter: Reporter, now: datetime
) -> bytes:
    """The report as a message (section 5.3): CRLF line ends, pure ASCII, unsigned. Its envelope sender is <>; it must
    be DKIM-signed by the domain of `reporter.contact`."""
    start = datetime.combine(day, time(), UTC).timestamp()
    name = f"{reporter.hostname}!{domain}!{int(start)}!{int(start) + 86399}!1.json.gz"
    identity = report["report-id"]
    boundary = "=_tlsrpt_" + base64.b16encode(f"{domain}{day}".encode())[:40].decode()
    packed = (
        base64.encodebytes(gzip.compress(json.dumps(report).encode(), mtime=0)).decode().replace("\n", "\r\n")
    )
    return (
        f"From: {reporter.organization} <{reporter.contact}>\r\n"
        f"To: <{recipient}>\r\n"
        f"Date: {format_datetime(now)}\r\n"
        f"Message-ID: <tlsrpt.{day.isoformat()}.{domain}@{reporter.hostname}>\r\n"
        f"Subject: Report Domain: {domain} Submitter: {reporter.hostname} Report-ID: <{identity}>\r\n"
        f"TLS-Report-Domain: {domain}\r\n"
        f"TLS-Report-Submitter: {reporter.hostname}\r\n"
        "TLS-Required: No\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type="tlsrpt"; boundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "\r\n"
        f"This is a TLS report (RFC 8460) of {reporter.hostname} about mail to {domain} on {day.isoformat()} (UTC).\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: application/tlsrpt+gzip\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n'
        "\r\n"
        f"{packed}"
        f"--{boundary}--\r\n"
    ).encode("ascii")
