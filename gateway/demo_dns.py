"""The public DNS of the demo, for the portal's checks: the relay's demo zone, and what its customers have published.

Nothing below .example is ever asked outside. The records of DKIM keys and of proven domains appear by themselves: the
demo has nobody who could publish them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dns.reversename
from django.conf import settings

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
    "_dmarc.acme-news.example": {"TXT": ['"v=DMARC1; p=none"']},
    "_dmarc.acme.example": {"TXT": ['"v=DMARC1; p=quarantine; rua=mailto:dmarc@acme.example"']},
}
SPF_HOST = "spf.smg.example"  # in the records above; published under the name that the settings say
# Address -> its name, both ways. mta03 shows what a forgotten reverse entry looks like.
HOSTS = {
    "192.0.2.1": "mta01.smg.example",
    "192.0.2.2": "mta02.smg.example",
    "192.0.2.3": "static-192-0-2-3.smg.example",
    "198.51.100.25": "office.acme.example",
    "203.0.113.40": "mail.globex.example",
}
REVERSE = ("2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa")  # RFC 5737


class DemoZone(StaticZone):
    """Answers for everything below .example and the documentation's networks: what it does not know exists without
    records."""

    def __contains__(self, name: str) -> bool:
        return name.endswith((".example", *REVERSE)) or super().__contains__(name)

    def answer(self, name: str, rdtype: str) -> Any:
        return super().answer(name if super().__contains__(name) else NOTHING, rdtype)


def demo_dns() -> DemoZone:
    names = _with_our_spf_host({**ZONE, **EXTRA})
    names.update(_hosts())
    names.update(_challenges(Domain.objects.filter(verified_by="dns")))
    names.update(_keys(DkimKey.objects.exclude(public_key="").exclude(state=DkimKey.State.REVOKED)))
    return DemoZone(names)


def _with_our_spf_host(zone: Mapping[str, Mapping[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    ours = settings.SMG.spf_host.lower()
    names = {
        name: {rdtype: [text.replace(SPF_HOST, ours) for text in texts] for rdtype, texts in types.items()}
        for name, types in zone.items()
    }
    return {**names, ours: dict(ZONE[SPF_HOST])}


def _hosts() -> dict[str, dict[str, list[str]]]:
    """Names of addresses and back; our own hosts say who may send in their name."""
    names: dict[str, dict[str, list[str]]] = {}
    for address, name in HOSTS.items():
        names[dns.reversename.from_address(address).to_text(omit_final_dot=True)] = {"PTR": [f"{name}."]}
        names[name] = {"A": [address]}
    for number in (1, 2, 3):
        own = names.setdefault(f"mta0{number}.smg.example", {"A": [f"192.0.2.{number}"]})
        own |= {"MX": ["10 mx.smg.example."], "TXT": ['"v=spf1 a -all"']}
    return names


def _challenges(domains: Iterable[Domain]) -> dict[str, dict[str, list[str]]]:
    return {f"_smg-challenge.{domain.name}": {"TXT": [f'"{domain.challenge}"']} for domain in domains}


def _keys(keys: Iterable[DkimKey]) -> dict[str, dict[str, list[str]]]:
    return {
        f"{key.selector}._domainkey.{key.domain.name}": {"TXT": [dns_record(key.public_key)]} for key in keys
    }
