"""Which protection a hop needs: forced rule > REQUIRETLS > DANE > MTA-STS > opportunistic.

A forced rule is the customer's own word and comes first even where DANE would demand more. REQUIRETLS (RFC 8689) adds
to a rule, never takes away. `TLS-Required: No` (RFC 8689 section 5) sets DANE and MTA-STS aside, not a rule.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.rules.policy import GatewayPolicy, TlsRulePolicy
from gateway.rules.route_types import TlsaRecord, TlsDemand
from gateway.rules.types import OnFailure, TlsLevel

_STRENGTH = list(TlsLevel)


class DaneStatus(StrEnum):
    """What TLSA look-ups came to for one host."""

    UNAVAILABLE = "unavailable"  # our resolver does not validate: nothing can be said
    INSECURE = "insecure"  # the domain's or the host's zone is not signed
    NONE = "none"  # signed, no TLSA records
    USABLE = "usable"
    UNUSABLE = (
        "unusable"  # records, but none that SMTP may use: encryption without a check (RFC 7672 section 2.2)
    )


@dataclass(frozen=True, slots=True)
class DaneFacts:
    status: DaneStatus = DaneStatus.NONE
    records: tuple[TlsaRecord, ...] = ()  # the usable ones


class StsMode(StrEnum):
    NONE = "none"
    TESTING = "testing"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy of RFC 8461 section 3.2."""

    mode: StsMode
    mx: tuple[str, ...] = ()
    max_age_s: int = 0
    id: str = ""
    text: str = ""  # as fetched, for reports

    def allows(self, host: str) -> bool:
        return any(mx_pattern_matches(pattern, host) for pattern in self.mx)


@dataclass(frozen=True, slots=True)
class HopFacts:
    """All that decides about one MX host's protection."""

    host: str
    domain: str  # the recipient's
    rule: TlsRulePolicy | None = None
    shadow_rule: TlsRulePolicy | None = None
    require_tls: bool = False
    tls_optional: bool = False  # TLS-Required: No
    mx_authentic: bool = False  # the MX answer was validated
    dane: DaneFacts = field(default_factory=DaneFacts)
    sts: StsPolicy | None = None


def find_rule(
    rules: Iterable[TlsRulePolicy], sender_domain: str, recipient_domain: str
) -> TlsRulePolicy | None:
    """The most specific rule: one for this sender beats one for any, an exact recipient domain beats '.suffix', a
    longer suffix beats a shorter. '.bank.example' covers what is below bank.example, not bank.example itself."""
    fitting = [rule for rule in rules if _rule_fits(rule, sender_domain, recipient_domain)]
    return max(fitting, key=_specificity, default=None)


def rules_for(
    rules: Sequence[TlsRulePolicy], sender_domain: str, recipient_domain: str
) -> tuple[TlsRulePolicy | None, TlsRulePolicy | None]:
    """(the rule that holds, the shadow rule that is only recorded)."""
    enforced = find_rule((rule for rule in rules if not rule.shadow), sender_domain, recipient_domain)
    return enforced, find_rule((rule for rule in rules if rule.shadow), sender_domain, recipient_domain)


def _rule_fits(rule: TlsRulePolicy, sender_domain: str, recipient_domain: str) -> bool:
    if rule.sender_domain and rule.sender_domain != sender_domain:
        return False
    if rule.recipient_domain.startswith("."):
        return recipient_domain.endswith(rule.recipient_domain)
    return rule.recipient_domain == recipient_domain


def _specificity(rule: TlsRulePolicy) -> tuple[bool, bool, int]:
    return bool(rule.sender_domain), not rule.recipient_domain.startswith("."), len(rule.recipient_domain)


def hop_demand(facts: HopFacts) -> TlsDemand:
    """The protection of one MX host."""
    demand = _decide(facts)
    if facts.shadow_rule is None or facts.rule is not None:
        return demand
    return replace(demand, shadow=_from_rule(facts.shadow_rule, facts))


def _decide(facts: HopFacts) -> TlsDemand:
    if facts.rule is not None:
        demand = _from_rule(facts.rule, facts)
        return _with_requiretls(demand, facts) if facts.require_tls else demand
    if facts.require_tls:
        return _with_requiretls(_required(facts), facts)
    if facts.tls_optional:
        return TlsDemand()
    return _from_domain(facts)


def _from_domain(facts: HopFacts) -> TlsDemand:
    """What the recipient's domain publishes; when DANE says something, MTA-STS is not asked (RFC 8461 section 2)."""
    dane = facts.dane
    if dane.status is DaneStatus.USABLE:
        return TlsDemand(TlsLevel.DANE, "dane", names=(facts.host, facts.domain), tlsa=dane.records)
    if dane.status is DaneStatus.UNUSABLE:
        return TlsDemand(TlsLevel.ENCRYPT, "dane")
    return _from_sts(facts) if facts.sts is not None else TlsDemand()


def _from_sts(facts: HopFacts) -> TlsDemand:
    policy = facts.sts
    if policy is None or policy.mode is StsMode.NONE:
        return TlsDemand()
    blocked = "" if policy.allows(facts.host) else f"{facts.host} is not in the domain's MTA-STS policy"
    demand = TlsDemand(TlsLevel.VERIFY, "mta-sts", names=(facts.host,), blocked=blocked)
    return demand if policy.mode is StsMode.ENFORCE else TlsDemand(shadow=demand)


def _from_rule(rule: TlsRulePolicy, facts: HopFacts) -> TlsDemand:
    demand = TlsDemand(
        level=rule.level,
        source="rule",
        min_version=rule.min_version,
        fingerprint=rule.fingerprint.lower().replace(":", ""),
        names=(facts.host, facts.domain),
        on_failure=rule.on_failure,
    )
    if demand.fingerprint:
        return demand
    if rule.level is TlsLevel.VERIFY:
        return replace(demand, blocked=_outside_sts(facts))
    if rule.level is not TlsLevel.DANE:
        return demand
    return replace(demand, tlsa=facts.dane.records, blocked=_no_dane(facts))


def _outside_sts(facts: HopFacts) -> str:
    """A good certificate of the wrong host is no use: a domain that says which hosts are its own is believed, or a rule
    would make mail less safe than none."""
    policy = facts.sts
    if policy is None or policy.mode is not StsMode.ENFORCE or policy.allows(facts.host):
        return ""
    if facts.dane.status is DaneStatus.USABLE:  # then MTA-STS is not asked (RFC 8461 section 2)
        return ""
    return f"{facts.host} is not in the domain's MTA-STS policy"


def _no_dane(facts: HopFacts) -> str:
    return {
        DaneStatus.USABLE: "",
        DaneStatus.UNUSABLE: f"none of the TLSA records of {facts.host} can be used for mail",
        DaneStatus.NONE: f"{facts.host} has no TLSA records",
        DaneStatus.INSECURE: f"{facts.domain} or {facts.host} is not signed with DNSSEC",
        DaneStatus.UNAVAILABLE: "DANE is not available here: the resolver does not validate DNSSEC",
    }[facts.dane.status]


def _required(facts: HopFacts) -> TlsDemand:
    """REQUIRETLS alone: DANE, or a certificate chain for a host that we were led to safely (RFC 8689 section 4.2.1)."""
    if facts.dane.status is DaneStatus.USABLE:
        return replace(_from_domain(facts), on_failure=OnFailure.REJECT)
    enforced = facts.sts is not None and facts.sts.mode is StsMode.ENFORCE
    led_safely = facts.mx_authentic or (enforced and facts.sts is not None and facts.sts.allows(facts.host))
    blocked = (
        ""
        if led_safely
        else f"neither DNSSEC nor MTA-STS vouch for {facts.host} as a server of {facts.domain}"
    )
    return TlsDemand(TlsLevel.VERIFY, names=(facts.host,), blocked=blocked)


def _with_requiretls(demand: TlsDemand, facts: HopFacts) -> TlsDemand:
    source = demand.source if demand.source == "rule" else "requiretls"
    raised = demand.level if demand.fingerprint else stronger(demand.level, TlsLevel.VERIFY)
    on_failure = demand.on_failure or OnFailure.REJECT
    return replace(demand, level=raised, source=source, on_failure=on_failure, require_tls=True)


def next_hop_demand(
    gateway: GatewayPolicy, host: str, rule: TlsRulePolicy | None = None, *, require_tls: bool = False
) -> TlsDemand:
    """The protection of a smart host: the operator's level, raised by the customer's rule. What happens behind it is
    out of our sight: a rule can only be kept as far as here. The domain's DANE and MTA-STS do not apply."""
    demand = TlsDemand(gateway.next_hop_tls, "next-hop", names=(host,))
    if rule is not None:
        demand = _raised_by(rule, demand)
    if not require_tls:
        return demand
    level = stronger(demand.level, TlsLevel.VERIFY)
    return replace(demand, level=level, on_failure=demand.on_failure or OnFailure.REJECT, require_tls=True)


def _raised_by(rule: TlsRulePolicy, demand: TlsDemand) -> TlsDemand:
    # DANE speaks about the domain's own servers; at a smart host a verified name is the nearest to it.
    wanted = TlsLevel.VERIFY if rule.level is TlsLevel.DANE else rule.level
    return replace(
        demand,
        level=stronger(demand.level, wanted),
        source="rule",
        min_version=rule.min_version,
        on_failure=rule.on_failure,
    )


def stronger(one: TlsLevel, other: TlsLevel) -> TlsLevel:
    return max(one, other, key=_STRENGTH.index)


def usable_tlsa(records: Iterable[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """The records that SMTP may use (RFC 7672 section 3.1): DANE-TA(2) and DANE-EE(3), known selector and matching
    type, and data of the right length."""
    return tuple(record for record in records if _is_usable(record))


_DIGEST_BYTES = {1: 32, 2: 64}


def _is_usable(record: TlsaRecord) -> bool:
    if record.usage not in (2, 3) or record.selector not in (0, 1) or record.matching not in (0, 1, 2):
        return False
    return len(record.data) == _DIGEST_BYTES.get(record.matching, len(record.data)) and bool(record.data)


def mx_pattern_matches(pattern: str, host: str) -> bool:
    """An 'mx' entry of an MTA-STS policy (RFC 8461 section 4.1): '*.' stands for exactly one label."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        return bool(host) and host.partition(".")[2] == pattern[2:] and not host.startswith(".")
    return pattern == host


def name_matches(presented: str, wanted: str) -> bool:
    """A certificate's dNSName against a name (RFC 6125 section 6.4): '*' only as the whole left-most label, and not
    right above a top-level domain."""
    presented, wanted = presented.lower().rstrip("."), wanted.lower().rstrip(".")
    if not presented.startswith("*."):
        return presented == wanted
    label, _, rest = wanted.partition(".")
    return bool(label) and rest == presented[2:] and "." in rest


def matching_name(presented: Iterable[tuple[str, str]], wanted: Iterable[str]) -> str:
    """The first wanted name that the certificate's subjectAltName covers, '' when none. `presented` is what
    ssl.getpeercert() says: ('DNS', name) and ('IP Address', text). The common name does not count (RFC 9525)."""
    names = list(presented)
    return next((name for name in wanted if any(_covers(kind, text, name) for kind, text in names)), "")


def _covers(kind: str, text: str, wanted: str) -> bool:
    if kind == "DNS":
        return name_matches(text, wanted)
    return kind == "IP Address" and _same_address(text, wanted)


def _same_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one.strip()) == ipaddress.ip_address(other)
    except ValueError:
        return False
