"""Lists that must never be asked, even when somebody adds them: gone, lapsed, listing the world, or redundant."""

from __future__ import annotations

from collections.abc import Mapping


def is_dead_zone(zone: str, dead: Mapping[str, str]) -> str:
    """Why a zone must never be asked ('' = nothing known against it). `dead`: dead zone -> reason; covers names below
    it, and the whole family when only one zone of it is in the facts (*.sorbs.net)."""
    zone = zone.lower().strip(".")
    for known, reason in dead.items():
        if zone == known or zone.endswith("." + known):
            return reason
    for family, known in FAMILIES.items():
        if known in dead and (zone == family or zone.endswith("." + family)):
            return dead[known]
    return ""


FAMILIES = {
    "sorbs.net": "dnsbl.sorbs.net",
    "rfc-clueless.org": "fulldom.rfc-clueless.org",
    "rfc-ignorant.org": "dsn.rfc-ignorant.org",
    "msrbl.net": "combined.rbl.msrbl.net",
    "ahbl.org": "dnsbl.ahbl.org",
    "njabl.org": "dnsbl.njabl.org",
    "dsbl.org": "list.dsbl.org",
    "ordb.org": "relays.ordb.org",
    "spamcannibal.org": "bl.spamcannibal.org",
    "abuseat.org": "cbl.abuseat.org",
    "dnsbl.manitu.net": "ix.dnsbl.manitu.net",
}
REDUNDANT = (
    "sbl.spamhaus.org",
    "xbl.spamhaus.org",
    "pbl.spamhaus.org",
    "sbl-xbl.spamhaus.org",
)  # all inside ZEN
