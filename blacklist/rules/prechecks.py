"""What every list's operator wants to be in order before a request: names, SPF, and nothing open."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

GENERIC_WORDS = re.compile(
    r"(?:^|[.-])(?:dyn(?:amic)?|dial(?:up|in)?|dsl|adsl|dhcp|pool|ppp|cable|static|customers?|clients?|broadband|rev(?:erse)?)"
    r"(?:[.\d-]|$)"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a ticket's pre-checks. `ok`: True, False, or None for what only a person can judge."""

    name: str
    ok: bool | None
    text: str
    value: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "text": self.text, "value": self.value}


def check_ptr(address: str, names: tuple[str, ...] | None, forward: dict[str, tuple[str, ...]]) -> Check:
    """Reverse DNS, confirmed forwards. `names` None: could not be asked; `forward`: name -> its addresses."""
    if names is None:
        return Check("ptr", None, f"The reverse DNS of {address} could not be asked.")
    if not names:
        return Check("ptr", False, f"{address} has no reverse DNS (PTR).")
    confirmed = [name for name in names if address in forward.get(name, ())]
    if not confirmed:
        return Check("ptr", False, f"{names[0]} does not lead back to {address}.", names[0])
    return Check("ptr", True, f"{address} is {confirmed[0]}, and back.", confirmed[0])


def check_generic(address: str, name: str) -> Check:
    """Names made of the address or of access-line words make a mail server look like a home computer."""
    if not name:
        return Check("ptr_generic", None, "There is no name to judge.")
    if is_generic(address, name):
        return Check(
            "ptr_generic", False, f"{name} looks generic: it should name a mail server of the operator.", name
        )
    return Check("ptr_generic", True, f"{name} does not look generic.", name)


def is_generic(address: str, name: str) -> bool:
    parsed = ipaddress.ip_address(address)
    if GENERIC_WORDS.search(name.lower()):
        return True
    if parsed.version == 6:
        return parsed.exploded.replace(":", "")[16:] in name.replace("-", "").replace(".", "")
    octets = str(parsed).split(".")
    found = [part for part in re.findall(r"\d+", name) if part.lstrip("0") in octets or part in octets]
    return len(found) >= 3


def check_helo(helo: str, name: str) -> Check:
    if not name:
        return Check("helo", None, f"HELO says {helo}; there is no reverse name to compare.", helo)
    same = helo.lower().rstrip(".") == name.lower().rstrip(".")
    text = (
        f"HELO and reverse name are both {helo}."
        if same
        else f"HELO says {helo}, the reverse name is {name}."
    )
    return Check("helo", same, text, helo)


def check_spf(domain: str, address: str, result: str) -> Check:
    """`result` as gateway.rules.spf has it."""
    good = {"pass": True, "temperror": None, "none": None}.get(result, False)
    return Check("spf", good, f"SPF of {domain} says {result} for {address}.", domain)


def check_share(name: str, part: int, whole: int, what: str, least: float) -> Check:
    """A share that should be high: '812 of 900 messages in 24 h ...'."""
    if not whole:
        return Check(name, None, f"No messages in 24 h ({what}).")
    return Check(name, part >= least * whole, f"{part} of {whole} messages in 24 h {what}.")
