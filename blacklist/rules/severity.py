"""How bad a listing is: list x code x role of the target."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blacklist.rules.types import Code, ProviderSpec, Reading, Role, Severity

INFECTED = re.compile(
    r"\b(xbl|authbl|exploit|botnet|infect\w*|compromised|stolen credentials)\b", re.IGNORECASE
)


def severity_of(spec: ProviderSpec, matches: Iterable[Code], role: Role) -> Severity:
    """The worst of the matched codes for this role; never above informational for lists that list whole providers."""
    worst = max(
        (_of_code(spec, code, role) for code in matches), key=lambda one: one.rank, default=spec.severity
    )
    if spec.removal_method == "contact-isp" or spec.severity is Severity.INFORMATIONAL:
        return min(worst, Severity.INFORMATIONAL, key=lambda one: one.rank)
    return worst


def _of_code(spec: ProviderSpec, code: Code, role: Role) -> Severity:
    stated = code.severity_gateway if role is Role.GATEWAY else code.severity_other
    if stated is not None:
        return stated
    if role is Role.GATEWAY:
        return spec.severity
    return _unstated(spec, code, role)


def _unstated(spec: ProviderSpec, code: Code, role: Role) -> Severity:
    """No row of the code table says: a policy range is normal for a customer's address that only relays through us,
    and an infected host behind it is theirs to clean but does not touch our sending."""
    if code.reading is Reading.POLICY:
        return Severity.INFORMATIONAL
    if role is Role.CUSTOMER_IP and INFECTED.search(code.label):
        return min(spec.severity, Severity.MAJOR, key=lambda one: one.rank)
    return spec.severity
