"""MTA-STS records and policies as text (RFC 8461 sections 3.1 and 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.rules.tls_policy import StsMode, StsPolicy

MAX_AGE_S = 31_557_600
MAX_POLICY_BYTES = 64 * 1024
MAX_MX = 200

_ID = re.compile(r"[a-zA-Z0-9]{1,32}")
_MX = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\.?")


class BadPolicy(ValueError):
    """The text is no policy; the message says what is wrong with it."""


def record_id(texts: Iterable[str]) -> str | None:
    """The id of the one valid record at '_mta-sts.<domain>', None when there is none or more than one."""
    found = [fields for fields in map(_record_fields, texts) if fields is not None]
    if len(found) != 1:
        return None
    identity = found[0].get("id", "")
    return identity if _ID.fullmatch(identity) else None


def _record_fields(text: str) -> dict[str, str] | None:
    if not re.match(r"v=STSv1\s*(?:;|$)", text):
        return None
    pairs = (field.partition("=") for field in text.split(";"))
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}


def parse_policy(text: str, identity: str = "") -> StsPolicy:
    """A policy file; raises BadPolicy. Unknown keys are skipped, of a repeated key (but mx) the first counts."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        name, separator, value = (part.strip() for part in line.partition(":"))
        if not separator:
            continue
        if name == "mx":
            hosts.append(value.lower())
        else:
            fields.setdefault(name, value)
    return _policy(fields, hosts, text, identity)


def _policy(fields: dict[str, str], hosts: list[str], text: str, identity: str) -> StsPolicy:
    if fields.get("version") != "STSv1":
        raise BadPolicy("the policy does not begin with version: STSv1")
    if fields.get("mode") not in list(StsMode):
        raise BadPolicy("the mode is none of enforce, testing, none")
    mode = StsMode(fields["mode"])
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise BadPolicy("max_age is missing or no number")
    if mode is not StsMode.NONE and not hosts:
        raise BadPolicy("no mx is named")
    if len(hosts) > MAX_MX or not all(_MX.fullmatch(host) for host in hosts):
        raise BadPolicy("an mx is no host name or pattern")
    return StsPolicy(mode, tuple(hosts), min(int(age), MAX_AGE_S), identity, text)
