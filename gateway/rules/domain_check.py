"""What a sender domain's DNS should say and what it says: ownership, mail exchange, SPF, DKIM, DMARC.

Pure: `judge` gets the answers that were gathered (and raises spf.Needed for one it misses), the wishes, what the check
before had found, and the time. Problems are codes; the portal has the sentences (portal/domain_words.py).

record states: good | warning (works, could be better) | optional (recommended, missing) | missing | wrong |
lost (was good, now missing or wrong) | unknown (the DNS did not answer)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from gateway.rules.spf import MAX_LOOKUPS, Facts, Looked, SpfResult, evaluate, look, spf_texts

OWNERSHIP, MX, SPF, DMARC = "ownership", "mx", "spf", "dmarc"
DKIM_PREFIX = "dkim:"
CHALLENGE_LABEL = "_smg-challenge"
CHALLENGE_TAG = "smg-challenge="
BAD = ("missing", "wrong", "lost")
MANY_LOOKUPS = 8  # close to the limit: the next include of anybody breaks it


@dataclass(frozen=True, slots=True)
class WantedKey:
    """One DKIM key whose record should be public. `target` is set for the CNAME kind; without `public` it is the
    second of the two names, whose key will be made later."""

    selector: str
    public: str  # 'v=DKIM1; k=rsa; p=...'
    target: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the records should say for one domain."""

    domain: str
    challenge: str
    spf_host: str
    addresses: tuple[str, ...]  # of our gateways, as SPF_HOST or the gateways tell
    keys: tuple[WantedKey, ...] = ()
    report_address: str = ""  # for the DMARC suggestion


@dataclass(frozen=True, slots=True)
class Authority:
    """What the domain's own name servers say of a record that the resolver does not show as wanted."""

    servers: str
    is_right: bool  # the new value is there; only caches have the old one
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the page. `notes` are [code, word] pairs, the first is the main problem."""

    key: str
    name: str
    type: str
    expected: str
    state: str
    found: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    ttl_s: int = 0
    lookups: int = 0
    good_since: datetime | None = None
    lost_since: datetime | None = None
    authority: Authority | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key, "name": self.name, "type": self.type, "expected": self.expected, "state": self.state,
            "found": list(self.found), "notes": [list(note) for note in self.notes], "ttl_s": self.ttl_s,
            "lookups": self.lookups,
            "good_since": self.good_since.isoformat() if self.good_since else None,
            "lost_since": self.lost_since.isoformat() if self.lost_since else None,
            "authority": asdict(self.authority) if self.authority else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckResult:
    records: Mapping[str, Record]
    resolver: str = ""
    health: str = field(default="unknown")

    def as_json(self) -> dict[str, Any]:
        return {key: record.as_json() | {"resolver": self.resolver} for key, record in self.records.items()}


def judge(
    facts: Facts, want: Wanted, before: Mapping[str, Any], *, now: datetime, resolver: str = ""
) -> CheckResult:
    """All records of the domain; `before` is Domain.records as stored by the last check. Raises spf.Needed."""
    fresh = [
        _ownership(facts, want),
        _mx(facts, want),
        _spf(facts, want),
        *_dkim(facts, want),
        _dmarc(facts, want),
    ]
    records = {record.key: _remember(record, before.get(record.key, {}), now) for record in fresh}
    return CheckResult(records, resolver, _health(records.values()))


def needs_authority(result: CheckResult) -> bool:
    """Whether something is not as wanted, so that the domain's own name servers should be asked too."""
    return any(record.state in (*BAD, "optional") for record in result.records.values())


def with_authority(result: CheckResult, told: CheckResult, servers: str) -> CheckResult:
    """Put beside each record that is not as wanted what the authoritative servers (`told`) say about it."""
    records = {key: _beside(record, told.records.get(key), servers) for key, record in result.records.items()}
    return replace(result, records=records)


def _beside(record: Record, told: Record | None, servers: str) -> Record:
    if record.state not in (*BAD, "optional") or told is None or told.state == "unknown":
        return record
    return replace(record, authority=Authority(servers, told.state in ("good", "warning"), told.found))


def _health(records: Iterable[Record]) -> str:
    states = {record.state for record in records}
    if states & set(BAD):
        return "broken"
    return "warning" if states - {"good"} else "good"


def _remember(record: Record, before: Mapping[str, Any], now: datetime) -> Record:
    """Join with the last check: since when it is good, or since when it is lost."""
    good_since, lost_since = _moment(before.get("good_since")), _moment(before.get("lost_since"))
    if record.state in ("good", "warning"):
        return replace(record, good_since=good_since or now)
    if record.state in ("missing", "wrong") and (good_since or lost_since):
        return replace(record, state="lost", lost_since=lost_since or now)
    if record.state == "unknown":
        return replace(record, good_since=good_since, lost_since=lost_since)
    return record


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


# ------------------------------------------------------------------------------------------------ ownership


def _ownership(facts: Facts, want: Wanted) -> Record:
    name = f"{CHALLENGE_LABEL}.{want.domain}"
    at_label, at_domain = look(facts, name, "TXT"), look(facts, want.domain, "TXT")
    record = Record(OWNERSHIP, name, "TXT", want.challenge, "good", at_label.values, ttl_s=at_label.ttl_s)
    if want.challenge in [_bare(text) for text in at_label.values]:
        quoted = want.challenge not in at_label.values
        return replace(
            record, notes=(("quotes", ""),) if quoted else (), state="warning" if quoted else "good"
        )
    alternative = CHALLENGE_TAG + want.challenge
    if alternative in at_domain.values:
        return replace(
            record, name=want.domain, expected=alternative, found=(alternative,), ttl_s=at_domain.ttl_s
        )
    if at_label.failed or at_domain.failed:
        return replace(record, state="unknown", notes=(("dns", at_label.error or at_domain.error),))
    if _appended(facts, name, want.domain, want.challenge):
        return replace(record, state="wrong", notes=(("twice", f"{name}.{want.domain}"),))
    if at_label.values:
        return replace(record, state="wrong", notes=(("other_value", ""),))
    return replace(record, state="missing", notes=(("missing", ""),))


def _appended(facts: Facts, name: str, domain: str, fragment: str) -> bool:
    """The provider's form put the domain behind a name that had it already: 'x.acme.example.acme.example'."""
    return any(fragment in text for text in look(facts, f"{name}.{domain}", "TXT").values)


def _bare(text: str) -> str:
    return text.strip().strip("\"'“”„").strip()


# ------------------------------------------------------------------------------------------------ mail exchange


def _mx(facts: Facts, want: Wanted) -> Record:
    mx = look(facts, want.domain, "MX")
    record = Record(MX, want.domain, "MX", "", "good", mx.values, ttl_s=mx.ttl_s)
    if mx.error == "nxdomain":
        return replace(record, state="missing", notes=(("nxdomain", ""),))
    if mx.failed:
        return replace(record, state="unknown", notes=(("dns", mx.error),))
    hosts = [value.split()[-1].rstrip(".") for value in mx.values]
    if hosts and not any(hosts):
        return replace(record, state="wrong", notes=(("null_mx", ""),))
    return _mx_hosts(facts, record, hosts) if hosts else _only_address(facts, record, want.domain)


def _mx_hosts(facts: Facts, record: Record, hosts: Sequence[str]) -> Record:
    numeric = next((host for host in hosts if host.replace(".", "").isdigit()), None)
    if numeric:
        return replace(record, state="wrong", notes=(("mx_is_address", numeric),))
    first = hosts[0]
    v4, v6 = look(facts, first, "A"), look(facts, first, "AAAA")
    if not v4.values and not v6.values and not v4.failed and not v6.failed:
        return replace(record, state="warning", notes=(("mx_no_address", first),))
    return record


def _only_address(facts: Facts, record: Record, domain: str) -> Record:
    v4, v6 = look(facts, domain, "A"), look(facts, domain, "AAAA")
    if v4.values or v6.values:
        return replace(
            record, type="A", found=v4.values or v6.values, state="warning", notes=(("only_address", ""),)
        )
    if v4.failed or v6.failed:
        return replace(record, state="unknown", notes=(("dns", v4.error or v6.error),))
    return replace(record, state="missing", notes=(("no_mx", ""),))


# ------------------------------------------------------------------------------------------------ SPF


def _spf(facts: Facts, want: Wanted) -> Record:
    texts = look(facts, want.domain, "TXT")
    found = spf_texts(facts, want.domain)
    record = Record(
        SPF, want.domain, "TXT", suggested_spf(found, want.spf_host), "good", tuple(found), ttl_s=texts.ttl_s
    )
    if texts.failed:
        return replace(record, state="unknown", notes=(("dns", texts.error),))
    if not found:
        return _no_spf(facts, want, record, texts)
    results = [evaluate(facts, want.domain, address) for address in want.addresses]
    if not results:
        return _spf_by_text(record, want)
    return _spf_verdict(record, results, want, found[0])


def _no_spf(facts: Facts, want: Wanted, record: Record, texts: Looked) -> Record:
    quoted = [
        text
        for text in texts.values
        if text.strip() != _bare(text) and _bare(text).lower().startswith("v=spf1")
    ]
    if quoted:
        return replace(record, state="wrong", found=tuple(quoted), notes=(("quotes", ""),))
    if _appended(facts, want.domain, want.domain, "v=spf1"):
        return replace(record, state="wrong", notes=(("twice", f"{want.domain}.{want.domain}"),))
    return replace(record, state="missing", notes=(("missing", ""),))


def _spf_verdict(record: Record, results: Sequence[SpfResult], want: Wanted, text: str) -> Record:
    worst = next((result for result in results if result.result != "pass"), results[0])
    record = replace(record, lookups=max(result.lookups for result in results))
    if worst.result == "temperror":
        return replace(record, state="unknown", notes=((worst.code, worst.term),))
    if worst.code:
        code = "spf_include" if _includes_host(text, want) else worst.code
        return replace(record, state="wrong", notes=((code, worst.term),))
    if worst.result != "pass":
        return replace(record, state="wrong", notes=((_why_not(text, want), worst.term),))
    return _spf_remarks(record, worst, want, text)


def _why_not(text: str, want: Wanted) -> str:
    if f"a:{want.spf_host}" in [term.lstrip("+?~-") for term in text.lower().split()]:
        return "spf_order"  # our host is there, but behind something that decides first
    return "spf_not_us"


def _includes_host(text: str, want: Wanted) -> bool:
    return f"include:{want.spf_host}" in text.lower()


def _spf_remarks(record: Record, passed: SpfResult, want: Wanted, text: str) -> Record:
    """It passes; what could still be better."""
    lower = text.lower().split()
    remarks: list[tuple[str, str]] = []
    if "+all" in lower or "all" in lower:
        remarks.append(("spf_plus_all", ""))
    if passed.term.lower().lstrip("+").startswith(("ip4:", "ip6:")):
        remarks.append(("spf_pinned", passed.term))
    if record.lookups >= MANY_LOOKUPS:
        remarks.append(("spf_many", f"{record.lookups}/{MAX_LOOKUPS}"))
    return replace(record, notes=tuple(remarks), state="warning" if remarks else "good")


def _spf_by_text(record: Record, want: Wanted) -> Record:
    """Our own addresses are not known just now: the record is read, not evaluated."""
    if f"a:{want.spf_host}" in record.found[0].lower():
        return record
    return replace(record, state="unknown", notes=(("own_addresses", want.spf_host),))


def suggested_spf(found: Sequence[str], host: str) -> str:
    """The customer's record with our host in it: the rest of what they have stays as it is."""
    if not found:
        return f"v=spf1 a:{host} ~all"
    terms = [term for term in found[0].split()[1:] if term.lower() not in (f"include:{host}", f"a:{host}")]
    if any(term.lower().lstrip("+-~?") == "all" for term in terms) or not terms:
        return " ".join(["v=spf1", f"a:{host}", *(terms or ["~all"])])
    return " ".join(["v=spf1", f"a:{host}", *terms])


# ------------------------------------------------------------------------------------------------ DKIM


def _dkim(facts: Facts, want: Wanted) -> list[Record]:
    return [_dkim_key(facts, want, key) for key in want.keys]


def _spare(facts: Facts, want: Wanted, key: WantedKey) -> Record:
    """The second of the two CNAME names: it may lead nowhere until the next key is made."""
    name = f"{key.selector}._domainkey.{want.domain}"
    alias = look(facts, name, "CNAME")
    record = Record(
        DKIM_PREFIX + key.selector, name, "CNAME", key.target, "good", alias.values, ttl_s=alias.ttl_s
    )
    if alias.failed:
        return replace(record, state="unknown", notes=(("dns", alias.error),))
    if not alias.values:
        return replace(record, state="optional", notes=(("dkim_spare", ""),))
    if key.target not in alias.values:
        return replace(record, state="wrong", notes=(("other_value", ""),))
    return record


def _dkim_key(facts: Facts, want: Wanted, key: WantedKey) -> Record:
    if not key.public:
        return _spare(facts, want, key)
    name = f"{key.selector}._domainkey.{want.domain}"
    kind, expected = ("CNAME", key.target) if key.target else ("TXT", key.public)
    found = look(facts, name, "TXT")
    record = Record(DKIM_PREFIX + key.selector, name, kind, expected, "good", found.values, ttl_s=found.ttl_s)
    if found.failed:
        return replace(record, state="unknown", notes=(("dns", found.error),))
    if not found.values:
        twice = _appended(facts, name, want.domain, "p=")
        note = ("twice", f"{name}.{want.domain}") if twice else ("missing", "")
        return replace(record, state="wrong" if twice else "missing", notes=(note,))
    code = compare_key(found.values, key.public)
    return replace(record, state="wrong", notes=((code, ""),)) if code else record


def compare_key(found: Sequence[str], public: str) -> str:
    """'' when one single record carries this key, else what is wrong with it. Records are read, not compared as text:
    order, spaces and a final semicolon do not matter (RFC 6376 section 3.6.1)."""
    keys = [text for text in found if "p=" in text]
    if len(keys) > 1:
        return "dkim_two"
    if not keys:
        return "dkim_no_key"
    text = keys[0]
    if "\\;" in text:
        return "backslash"
    if _bare(text) != text.strip():
        return "quotes"
    ours, theirs = tags(public), tags(text)
    if theirs.get("p") == ours.get("p"):
        return "" if theirs.get("v", "DKIM1") == "DKIM1" else "dkim_version"
    if not theirs.get("p"):
        return "dkim_revoked"
    return "dkim_cut" if ours.get("p", "").startswith(theirs["p"]) else "dkim_other"


def tags(text: str) -> dict[str, str]:
    """'v=DKIM1; p=AB C' -> {'v': 'DKIM1', 'p': 'ABC'}; the tag lists of DKIM and DMARC records."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): "".join(value.split()) for name, _, value in pairs}


# ------------------------------------------------------------------------------------------------ DMARC


def _dmarc(facts: Facts, want: Wanted) -> Record:
    name = f"_dmarc.{want.domain}"
    looked = look(facts, name, "TXT")
    found = [text for text in looked.values if _bare(text).lower().replace(" ", "").startswith("v=dmarc1")]
    expected = "v=DMARC1; p=none" + (f"; rua=mailto:{want.report_address}" if want.report_address else "")
    record = Record(DMARC, name, "TXT", expected, "good", tuple(found), ttl_s=looked.ttl_s)
    if looked.failed:
        return replace(record, state="unknown", notes=(("dns", looked.error),))
    if len(found) > 1:
        return replace(record, state="wrong", notes=(("dmarc_two", ""),))
    return _dmarc_policy(record, found[0]) if found else _dmarc_above(facts, record, want.domain)


def _dmarc_policy(record: Record, text: str) -> Record:
    if _bare(text) != text.strip():
        return replace(record, state="wrong", notes=(("quotes", ""),))
    if tags(text).get("p", "").lower() not in ("none", "quarantine", "reject"):
        return replace(record, state="wrong", notes=(("dmarc_policy", ""),))
    return replace(record, expected=text)


def _dmarc_above(facts: Facts, record: Record, domain: str) -> Record:
    """A parent's record holds for the domains below it."""
    labels = domain.split(".")
    for start in range(1, len(labels) - 1):
        parent = ".".join(labels[start:])
        values = [
            text
            for text in look(facts, f"_dmarc.{parent}", "TXT").values
            if text.lower().startswith("v=dmarc1")
        ]
        if values:
            note = (("dmarc_parent", parent),)
            return replace(record, expected=values[0], found=(values[0],), notes=note)
    return replace(record, state="optional", notes=(("dmarc_missing", ""),))
