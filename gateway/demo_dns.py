"""The public DNS of the demo, for the portal's checks: the relay's demo zone, and what its customers have published.

Nothing below .example is ever asked outside. The records of DKIM keys and of proven domains appear by themselves: the
demo has nobody who could publish them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.demo import ZONE
from gateway.dns import StaticZone
from gateway.models import DkimKey, Domain
from gateway.sign import dns_record

NOTHING = "nothing.invalid"
EXTRA = {
    NOTHING: {},
    "mail.acme-shop.example": {"A": ["192.0.2.31"]},
    "acme-shop.example": {
        "MX": ["10 mail.acme-shop.example."],
        "TXT": ['"v=spf1 mx include:spf.smg.example -all"'],
    },
    "_dmarc.acme.example": {"TXT": ['"v=DMARC1; p=quarantine; rua=mailto:dmarc@acme.example"']},
}


class DemoZone(StaticZone):
    """Answers for everything below .example: what it does not know exists without records."""

    def __contains__(self, name: str) -> bool:
        return name.endswith(".example") or super().__contains__(name)

    def answer(self, name: str, rdtype: str) -> Any:
        return super().answer(name if super().__contains__(name) else NOTHING, rdtype)


def demo_dns() -> DemoZone:
    names: dict[str, dict[str, list[str]]] = {
        name: dict(types) for name, types in [*ZONE.items(), *EXTRA.items()]
    }
    names.update(_challenges(Domain.objects.filter(verified_by="dns")))
    names.update(_keys(DkimKey.objects.exclude(public_key="").exclude(state=DkimKey.State.REVOKED)))
    return DemoZone(names)


def _challenges(domains: Iterable[Domain]) -> dict[str, dict[str, list[str]]]:
    return {f"_smg-challenge.{domain.name}": {"TXT": [f'"{domain.challenge}"']} for domain in domains}


def _keys(keys: Iterable[DkimKey]) -> dict[str, dict[str, list[str]]]:
    return {
        f"{key.selector}._domainkey.{key.domain.name}": {"TXT": [dns_record(key.public_key)]} for key in keys
    }
