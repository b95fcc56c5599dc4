"""What the rows of the fact files mean (columns: docs/blacklists.md): codes, bits, ranges, test entries, dead lists.

People wrote the cells, so prose is expected: '127.0.0.2=listed (unconfirmed; any 127.0.0.x)'. What can be read is
read, what cannot is no code, and an answer without a code is unknown - never a listing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blacklist.rules.names import prefix_of_address
from blacklist.rules.types import Code, Kind, Outcome, ProviderSpec, Reading, Severity

KEY = "{key}"
QUAD = r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}"
CODE = re.compile(
    rf"^\s*(?:(?P<low>{QUAD})\s*(?:-\s*(?P<high>{QUAD}))?|(?:bit\s*)?(?P<bit>\d{{1,3}})|(?P<word>[A-Z]+))\s*="
)
ENTRY_START = re.compile(rf"^\s*(?:{QUAD}[\s\d.-]*|(?:bit\s*)?\d{{1,3}}|[A-Z]+)\s*=")
SPOKEN_RANGE = re.compile(rf"(?:every|any|other)\s+(?P<low>{QUAD})\s*-\s*(?P<high>{QUAD})", re.IGNORECASE)
SPOKEN_OCTET = re.compile(r"(?:every|any|other)\s+(127\.\d{1,3}\.\d{1,3})\.x", re.IGNORECASE)
BETWEEN = re.compile(r"values between", re.IGNORECASE)
NEUTRAL = re.compile(
    r"not a listing|\bwelcome\b|\bwhitelist|must not be blocklisted|\bneutral\b|\blegitimate\b|\btest entry\b"
    r"|\b(?:uses|use|mixed|no) QUIT\b|\bknown (?:up to )?\d+ days",
    re.IGNORECASE,
)
POLICY = re.compile(
    r"\bPBL\b|\bpolicy\b|\bdyna\w*|\bend-?user\b|\b(?:no|generic|missing) (?:reverse DNS|rDNS|PTR)\b|\bNoPtr\b",
    re.IGNORECASE,
)
BAD_SCORE = re.compile(r"\b(worst|very bad|bad)\b", re.IGNORECASE)
OUTCOME_WORDS = {"SERVFAIL": Outcome.SERVFAIL, "REFUSED": Outcome.REFUSED, "FORMERR": Outcome.OTHER_RCODE}
CLASSES = {
    "listing": Reading.LISTING,
    "policy": Reading.POLICY,
    "error": Reading.ERROR,
    "neutral": Reading.NEUTRAL,
    "welcome": Reading.NEUTRAL,
    "test": Reading.NEUTRAL,
}
ADDRESS_TESTS = {Kind.IP4: ("127.0.0.2", "127.0.0.1"), Kind.IP6: ("::FFFF:7F00:2", "::FFFF:7F00:1")}
DOMAIN_TESTS = ("TEST", "INVALID")
POLITE_QPS = {"sem": 4.0, "spfbl": 8.0}  # SEM: below 5 a second; SPFBL bans above 10
SUBSCRIBER_QPS = 50.0
DEFAULT_QPS = 5.0


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One row of the code table: finer than the provider's cell, and it wins over it."""

    value: str  # '127.0.0.4' or 'bit 8'
    label: str
    answer_class: str
    severity_gateway: str
    severity_other: str
    removal: str = ""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one provider row that decide about asking and judging."""

    slug: str
    name: str
    zone: str
    kind: str
    return_codes: str
    error_codes: str
    severity: str
    answer_mode: str
    removal_method: str
    test_positive: str
    test_negative: str
    rate_qps: float | None = None


def build_spec(cells: Cells, rows: Sequence[CodeRow] = (), key: str = "") -> ProviderSpec:
    """Everything known about a list in the form the judge wants. Raises ValueError for an unknown kind or severity."""
    is_bitmask = cells.answer_mode.startswith("bitmask")
    is_score = cells.answer_mode == "score"
    codes = _codes(cells, rows, is_bitmask=is_bitmask, is_score=is_score)
    return ProviderSpec(
        slug=cells.slug,
        name=cells.name,
        zone=cells.zone.replace(KEY, key).strip(".").lower(),
        kinds=parse_kinds(cells.kind),
        severity=Severity(cells.severity or "minor"),
        codes=codes,
        is_bitmask=is_bitmask,
        is_score=is_score,
        positives=_test_words(cells.test_positive),
        negatives=_test_words(cells.test_negative),
        removal_method=cells.removal_method,
        rate_qps=cells.rate_qps or polite_rate(cells.slug, cells.zone),
        error_outcomes=frozenset(
            OUTCOME_WORDS[word] for word in OUTCOME_WORDS if f"{word}=" in cells.error_codes
        ),
    )


def parse_kinds(text: str) -> frozenset[Kind]:
    """'ip4+ip6' -> both. Raises ValueError."""
    return frozenset(Kind(word.strip()) for word in text.split("+") if word.strip())


def polite_rate(slug: str, zone: str) -> float:
    """Questions a second when nobody says otherwise."""
    return POLITE_QPS.get(slug.split("-", maxsplit=1)[0], SUBSCRIBER_QPS if KEY in zone else DEFAULT_QPS)


def _codes(cells: Cells, rows: Sequence[CodeRow], *, is_bitmask: bool, is_score: bool) -> tuple[Code, ...]:
    by_key: dict[tuple[int, int, int], Code] = {}
    for code in parse_codes(cells.return_codes, is_score=is_score):
        by_key[code.low, code.high, code.bit] = code
    for code in parse_codes(cells.error_codes, reading=Reading.ERROR):
        by_key[code.low, code.high, code.bit] = code
    for row in rows:
        for code in _row_codes(row):
            by_key[code.low, code.high, code.bit] = code
    return tuple(code for code in by_key.values() if is_bitmask or not code.bit)


def _row_codes(row: CodeRow) -> Iterable[Code]:
    for code in parse_codes(f"{row.value}={row.label}"):
        yield Code(
            reading=CLASSES.get(row.answer_class, Reading.UNKNOWN),
            label=row.label,
            low=code.low,
            high=code.high,
            bit=code.bit,
            severity_gateway=Severity(row.severity_gateway or "none"),
            severity_other=Severity(row.severity_other or "none"),
            removal=row.removal,
        )


def parse_codes(cell: str, *, reading: Reading | None = None, is_score: bool = False) -> list[Code]:
    """The codes of one cell; with `reading` all of them mean that, otherwise the label's words decide."""
    found: list[Code] = []
    for entry in _entries(cell):
        match = CODE.match(entry)
        if match is None or match["word"]:
            continue
        label = entry[match.end() :].strip()
        meaning = reading or _reading_of(label, is_score=is_score)
        found += _one(match, label, meaning)
        found += _spoken(label, meaning, found)
    return found


def _entries(cell: str) -> list[str]:
    """Split at ';', but give a piece without 'code=' back to the sentence it was cut from."""
    entries: list[str] = []
    for piece in cell.split(";"):
        if entries and not ENTRY_START.match(piece):
            entries[-1] += ";" + piece
        else:
            entries.append(piece)
    return entries


def _one(match: re.Match[str], label: str, reading: Reading) -> list[Code]:
    short = label.split("(", maxsplit=1)[0].strip() or label
    if match["bit"]:
        bit = int(match["bit"])
        return [Code(reading, short, bit=bit)] if 0 < bit < 256 and bit & (bit - 1) == 0 else []
    low = _number(match["low"])
    high = _number(match["high"]) if match["high"] else low
    return [Code(reading, short, low=low, high=high)] if low and high and low <= high else []


def _spoken(label: str, reading: Reading, before: list[Code]) -> list[Code]:
    """Ranges that are said in words: 'every 127.0.0.2-127.0.0.255', 'any 127.0.1.x', 'values between give the age'."""
    match = SPOKEN_RANGE.search(label)
    if match:
        return _range(match["low"], match["high"], reading)
    octet = SPOKEN_OCTET.search(label)
    if octet:
        first = (
            2 if octet[1] == "127.0.0" else 1
        )  # 127.0.0.1 is never a listing unless a row of its own says so
        return _range(f"{octet[1]}.{first}", f"{octet[1]}.254", reading)
    addresses = [code for code in before if not code.bit]
    if BETWEEN.search(label) and len(addresses) > 1:
        low, high = addresses[0].low, addresses[-1].high
        return [Code(reading, "listed", low=low, high=high)] if low < high else []
    return []


def _range(low: str, high: str, reading: Reading) -> list[Code]:
    first, last = _number(low), _number(high)
    return [Code(reading, "listed", low=first, high=last)] if first and first < last else []


def _number(text: str) -> int:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return 0


def _reading_of(label: str, *, is_score: bool) -> Reading:
    if is_score:
        return Reading.LISTING if BAD_SCORE.search(label) else Reading.NEUTRAL
    if NEUTRAL.search(label):
        return Reading.NEUTRAL
    return Reading.POLICY if POLICY.search(label) else Reading.LISTING


# ------------------------------------------------------------------------------------------------- test entries

TEST_WORD = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|::[0-9A-Fa-f:]+(?:\.\d+)*|TEST|INVALID|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)(?![\w:])"
)


def _test_words(cell: str) -> tuple[str, ...]:
    """The entries named in a cell, in order; none when it says 'unconfirmed', 'none: ...' or 'not usable: ...'."""
    if re.match(r"\s*(unconfirmed|none|not usable)", cell, re.IGNORECASE):
        return ()
    plain = re.sub(r"\((?!unconfirmed)[^)]*\)", " ", cell)
    return tuple(dict.fromkeys(TEST_WORD.findall(plain)))


def test_names(spec: ProviderSpec, kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(positive, negative) complete names to ask before and after a run. Several positives: any of them will do.

    Without usable facts the entries of RFC 5782 section 5 are asked: a list that has none of them has no result,
    because nothing would tell its silence from its death.
    """
    if kind is Kind.DOMAIN:
        positive = [word for word in spec.positives if not _is_address(word)] or [DOMAIN_TESTS[0]]
        negative = [word for word in spec.negatives if not _is_address(word)] or [DOMAIN_TESTS[1]]
        # URIBL's test entry is an address pattern although it lists domains
        positive = [_written(word) for word in spec.positives if _is_address(word)] + positive
    else:
        want = 4 if kind is Kind.IP4 else 6
        positive = [_written(word) for word in spec.positives if _version(word) == want]
        negative = [_written(word) for word in spec.negatives if _version(word) == want]
        positive = positive or [prefix_of_address(ADDRESS_TESTS[kind][0])]
        negative = negative or [prefix_of_address(ADDRESS_TESTS[kind][1])]
    return tuple(f"{word}.{spec.zone}" for word in positive), tuple(
        f"{word}.{spec.zone}" for word in negative[:1]
    )


def _is_address(word: str) -> bool:
    return _version(word) != 0


def _version(word: str) -> int:
    try:
        return ipaddress.ip_address(word).version
    except ValueError:
        return 0


def _written(word: str) -> str:
    """'2.0.0.127' is written as it is asked, '127.0.0.2' and IPv6 addresses as addresses."""
    return word if word.endswith(".127") else prefix_of_address(word)
