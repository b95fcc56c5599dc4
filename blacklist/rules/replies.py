"""Which list or reputation system a remote reply names.

Replies are strangers' text: they may name a list falsely, so for lists with a zone they only cause a question of our
own (the ticket is 'detected'); only systems that cannot be asked by DNS are believed, and only for our own address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from gateway.rules.reply_patterns import BLOCKLISTS

ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})(?![\w:])", re.IGNORECASE
)
MAX_TEXT = 2000
QUIET_DAYS = 3  # a listing known from replies alone has ended when none named it for so long


def named_list(text: str, zones: Mapping[str, str] | None = None) -> str:
    """Slug of the list that the text names, '' for none. `zones`: zone -> slug of loaded providers, the surest sign;
    then the patterns that deliveries are classified by."""
    sample = text[:MAX_TEXT].casefold()
    for zone, slug in sorted((zones or {}).items(), key=lambda pair: -len(pair[0])):
        if zone and re.search(rf"(?<![\w-]){re.escape(zone)}(?![\w-])", sample):
            return slug
    return next((slug for slug, pattern in BLOCKLISTS if pattern.search(sample)), "")


def is_about(text: str, address: str) -> bool:
    """Whether the reply can be about our address: it names this one, or none at all."""
    named = {found for word in ADDRESS.findall(text[:MAX_TEXT]) if (found := _canonical(word))}
    return not named or _canonical(address) in named


def _canonical(word: str) -> str:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return ""
