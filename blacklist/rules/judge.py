"""Listed, not listed, or honestly unknown: the decision table for every answer a list can give.

False alarms destroy trust, false 'clean' is worse. So a clean answer counts only from a list whose test entries were
right in the same run, a listing only with a documented code, and everything else is unknown, with the reason in words.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from blacklist.rules.types import Answer, Code, Outcome, ProviderSpec, Reading, Status, Verdict

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
# Spamhaus .252 (zone misspelt), .254 (public or open resolver), .255 (over the limit); Validity .255 (not registered)
REFUSAL_RANGE = ipaddress.ip_network("127.255.255.0/24")
ALL_BITS = 255
IP_SENT_TO_DOMAIN_LIST = "127.0.1.255"
FIRST_OCTETS = int(ipaddress.ip_address("127.0.0.0"))
KNOWN_ERRORS = {
    "127.255.255.252": "the list says the zone name is misspelt",
    "127.255.255.254": "the list refuses our resolver as public or open",
    "127.255.255.255": "the list says there are too many queries, or the resolver is not registered",
}
OUTCOMES = {
    Outcome.SERVFAIL: "the resolver could not get an answer (SERVFAIL)",
    Outcome.REFUSED: "the question was refused (REFUSED): over the limit, or the key is not valid",
    Outcome.OTHER_RCODE: "the name server answered with an error",
    Outcome.MALFORMED: "the answer could not be read",
    Outcome.TIMEOUT: "no answer",
}


@dataclass(frozen=True, slots=True)
class _Read:
    address: str
    reading: Reading
    label: str
    matches: tuple[Code, ...] = ()


def judge(spec: ProviderSpec, answer: Answer) -> Verdict:
    """The verdict about one target. NOT_LISTED is provisional until the list's test entries were judged (`canary`)."""
    if answer.outcome in (Outcome.NXDOMAIN, Outcome.NODATA):
        return Verdict(Status.NOT_LISTED, ttl_s=answer.ttl_s)
    if answer.outcome is not Outcome.RECORDS:
        return _no_result(spec, answer)
    reads = [_read(spec, address) for address in answer.addresses]
    return replace(_of_reads(reads), raw=answer.addresses, ttl_s=answer.ttl_s)


def _no_result(spec: ProviderSpec, answer: Answer) -> Verdict:
    status = Status.TIMEOUT if answer.outcome is Outcome.TIMEOUT else Status.PROVIDER_ERROR
    stops = answer.outcome in spec.error_outcomes or answer.outcome is Outcome.REFUSED
    return Verdict(status, why=OUTCOMES[answer.outcome], stops=stops)


def _of_reads(reads: list[_Read]) -> Verdict:
    """Several addresses are a union; one error code among them spoils the answer."""
    by = {reading: [read for read in reads if read.reading is reading] for reading in Reading}
    if by[Reading.ERROR]:
        return Verdict(Status.PROVIDER_ERROR, why=by[Reading.ERROR][0].label, stops=True)
    if by[Reading.FOREIGN]:
        address = by[Reading.FOREIGN][0].address
        return Verdict(
            Status.PROVIDER_ERROR, why=f"answered {address}, outside 127.0.0.0/8: not a blocklist's answer"
        )
    hits = by[Reading.LISTING] + by[Reading.POLICY]
    if hits:
        return _listed(hits)
    if by[Reading.UNKNOWN]:
        shown = ", ".join(read.address for read in by[Reading.UNKNOWN])
        return Verdict(Status.PROVIDER_ERROR, why=f"answered {shown}, which the list does not document")
    return Verdict(Status.NOT_LISTED, labels=tuple(read.label for read in by[Reading.NEUTRAL]))


def _listed(hits: list[_Read]) -> Verdict:
    matches = tuple(dict.fromkeys(code for read in hits for code in read.matches))
    return Verdict(
        Status.LISTED,
        codes=tuple(
            sorted({read.address for read in hits}, key=lambda text: int(ipaddress.ip_address(text)))
        ),
        labels=tuple(dict.fromkeys(code.label for code in matches)),
        matches=matches,
    )


def _read(spec: ProviderSpec, address: str) -> _Read:
    parsed = ipaddress.ip_address(address)
    if parsed not in LOOPBACK:
        return _Read(address, Reading.FOREIGN, "")
    if parsed in REFUSAL_RANGE:
        return _Read(
            address, Reading.ERROR, KNOWN_ERRORS.get(address, f"the list refuses to answer ({address})")
        )
    value = int(parsed)
    exact = [code for code in spec.codes if not code.bit and code.low <= value <= code.high]
    if exact:
        # the narrowest row speaks: '127.0.0.2-127.0.0.255 listed' must not hide a documented single code
        narrow = min(exact, key=lambda code: code.high - code.low)
        if narrow.low != narrow.high:  # the number is all that is known about it
            narrow = replace(narrow, label=f"{narrow.label} ({address})", low=value, high=value)
        return _Read(address, narrow.reading, narrow.label or address, (narrow,))
    if spec.is_bitmask:
        return _read_bits(spec, address, value - FIRST_OCTETS)
    if address == IP_SENT_TO_DOMAIN_LIST:
        return _Read(address, Reading.ERROR, "an IP address was sent to a domain list (127.0.1.255)")
    return _Read(address, Reading.UNKNOWN, address)


def _read_bits(spec: ProviderSpec, address: str, bits: int) -> _Read:
    if bits == ALL_BITS:  # before decoding: all bits set would look like every listing at once
        return _Read(address, Reading.ERROR, "too many queries (all bits set)")
    matches = tuple(code for code in spec.codes if code.bit and 0 < bits <= ALL_BITS and bits & code.bit)
    errors = [code for code in matches if code.reading is Reading.ERROR]
    if errors:
        return _Read(address, Reading.ERROR, errors[0].label)
    hits = tuple(code for code in matches if code.reading in (Reading.LISTING, Reading.POLICY))
    if hits:
        return _Read(address, Reading.LISTING, hits[0].label, hits)
    known = sum(code.bit for code in matches)
    if matches and known == bits:
        return _Read(address, Reading.NEUTRAL, matches[0].label, matches)
    return _Read(address, Reading.UNKNOWN, address)


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """What a list's test entries prove in this run. Not ok: every answer of the list in this run is worth nothing."""

    status: Status  # NOT_LISTED means 'passed'
    why: str = ""
    finding: str = ""  # 'stripped' | 'public' | 'silent' | '': raw material for the resolver's health

    @property
    def passed(self) -> bool:
        return self.status is Status.NOT_LISTED


PASSED = CanaryVerdict(Status.NOT_LISTED)


def canary(spec: ProviderSpec, positive: Answer, negative: Answer) -> CanaryVerdict:
    """Judge the two test entries: `positive` must be listed, `negative` must not."""
    must_not, must = _negative(judge(spec, negative)), _positive(judge(spec, positive), positive)
    if must_not.status is Status.DEAD_LIST or must.passed:
        return must_not
    return must_not if _is_refusal(must_not) and not _is_refusal(must) else must


def _is_refusal(verdict: CanaryVerdict) -> bool:
    return verdict.status is Status.PROVIDER_ERROR


def _negative(verdict: Verdict) -> CanaryVerdict:
    if verdict.status is Status.LISTED:
        return CanaryVerdict(
            Status.DEAD_LIST, "the list lists its own negative test entry: it lists the whole world"
        )
    if verdict.status is Status.NOT_LISTED:
        return PASSED
    return _unanswered(verdict, "negative")


def _positive(verdict: Verdict, answer: Answer) -> CanaryVerdict:
    """Any answer from inside 127/8 that is no error proves that the list has content and the resolver
    lets it through."""
    if answer.outcome in (Outcome.NXDOMAIN, Outcome.NODATA):
        why = "the positive test entry is missing: the list is empty, or the resolver strips 127.0.0.0/8 answers"
        return CanaryVerdict(Status.DEAD_LIST, why, "stripped")
    if answer.outcome is Outcome.RECORDS and not verdict.stops and not _is_foreign(answer):
        return PASSED
    return _unanswered(verdict, "positive")


def _is_foreign(answer: Answer) -> bool:
    return any(ipaddress.ip_address(address) not in LOOPBACK for address in answer.addresses)


def _unanswered(verdict: Verdict, which: str) -> CanaryVerdict:
    """The test entry brought no result; answers that no blocklist gives mean that the list is gone."""
    why = f"{which} test entry: {verdict.why}"
    if verdict.status is Status.TIMEOUT:
        return CanaryVerdict(Status.TIMEOUT, why, "silent")
    if verdict.raw and not verdict.stops:  # outside 127/8, or an undocumented code for everybody
        return CanaryVerdict(Status.DEAD_LIST, why)
    public = "127.255.255.254" in verdict.raw
    return CanaryVerdict(Status.PROVIDER_ERROR, why, "public" if public else "")
