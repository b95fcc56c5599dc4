"""What a login usually sends, and when what it sends now is so far from it that the abuse fuse must stop it.

Pure: `gateway/store/behaviour.py` counts, `gateway/fuse.py` decides when to look. Bad mail and unknown recipients speak
for themselves; a burst alone does not (newsletters are bursts), only together with something else that is new: source
networks, recipients, recipient domains. A login without history is judged by bad mail and unknown recipients alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """When the fuse blows. Shares are 0..1; `times` compare with what is usual for the login."""

    window_s: int = 3600  # what "now" means
    baseline_days: int = 30
    min_recipients: int = 50  # in the window; below nothing is ever judged
    history_messages: int = 20  # a login has a history from here on ...
    history_h: float = 24.0  # ... and from this age of its first message on
    # signals that blow it by themselves
    bad_messages: int = 20
    bad_share: float = 0.3
    unknown_recipients: int = 20
    unknown_share: float = 0.2
    complaint_window_h: float = 24.0  # recipients complain when they read, not when we deliver
    complaints: int = 5
    complaint_share: float = 0.01  # mailbox providers block from 0.3 % on; below so few a share says nothing
    share_times: float = 3.0  # a login that always had such a share is not news
    strict_factor: float = 2.0  # for logins without history: so many times as many, and a higher share
    flood_times: float = 20.0
    flood_recipients: int = 2000
    # signals that need a companion
    burst_times: float = 5.0
    burst_recipients: int = 200
    network_share: float = 0.5
    new_share: float = 0.7
    domains: int = 30
    domain_times: float = 3.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one login sent in a span of time: `messages` and `recipients` of all, the rest from an even sample."""

    messages: int = 0
    recipients: int = 0
    sampled: int = 0  # messages looked at
    bad: int = 0  # of these, judged suspect or spam
    networks: Mapping[str, int] = field(default_factory=dict)  # of these, network -> messages from there
    addresses: int = 0  # different recipients looked at
    new: int = 0  # of these, never written to before by this customer
    domains: int = 0  # recipient domains looked at
    settled: int = 0  # recipients looked at whose fate is known
    unknown: int = 0  # of these, refused by their server as not existing
    complaints: int = 0  # about messages of the complaint window
    complainable: int = 0  # recipients of these messages

    @property
    def complaint_share(self) -> float:
        return self.complaints / self.complainable if self.complainable else 0.0

    @property
    def bad_share(self) -> float:
        return self.bad / self.sampled if self.sampled else 0.0

    @property
    def unknown_share(self) -> float:
        return self.unknown / self.settled if self.settled else 0.0

    @property
    def new_share(self) -> float:
        return self.new / self.addresses if self.addresses else 0.0

    def foreign_share(self, known: Mapping[str, int]) -> float:
        """The share of messages from networks that are not among the known ones."""
        total = sum(self.networks.values())
        foreign = sum(count for name, count in self.networks.items() if name not in known)
        return foreign / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the login sent before. `busiest` = recipients of its busiest hour, `span_h` = age of its first message."""

    usual: Traffic = field(default_factory=Traffic)
    busiest: int = 0
    span_h: float = 0.0

    def is_history(self, limits: Limits) -> bool:
        return self.usual.messages >= limits.history_messages and self.span_h >= limits.history_h


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that is unusual: `value` now, `usual` before (None: no history). Shares are 0..1, the rest counts."""

    name: str  # bad | unknown | complaints | flood | burst | networks | recipients | domains
    value: float
    usual: float | None


@dataclass(frozen=True, slots=True)
class Breach:
    """Why the fuse blows."""

    signals: tuple[Signal, ...]

    def as_json(self) -> dict[str, list[float | None]]:
        """{name: [now, usual]}, for the trace and the audit."""
        return numbers(self.signals)


STRONG = frozenset({"bad", "unknown", "complaints", "flood"})


def judge(now: Traffic, baseline: Baseline, limits: Limits) -> Breach | None:
    """The breach, if what the login sends now must not go on."""
    found = signals(now, baseline, limits)
    names = {signal.name for signal in found}
    if names & STRONG or ("burst" in names and len(names) > 1):
        return Breach(found)
    return None


def signals(now: Traffic, baseline: Baseline, limits: Limits) -> tuple[Signal, ...]:
    """Everything that is unusual about the traffic; () below the least volume."""
    if now.recipients < limits.min_recipients:
        return ()
    if not baseline.is_history(limits):
        return tuple(_strict(now, limits))
    return tuple(signal for kind in KINDS for signal in kind(now, baseline, limits))


def _strict(now: Traffic, limits: Limits) -> list[Signal]:
    factor = limits.strict_factor
    stricter = replace(
        limits,
        bad_messages=round(limits.bad_messages * factor),
        bad_share=min(0.5, limits.bad_share * factor),
        unknown_recipients=round(limits.unknown_recipients * factor),
        unknown_share=min(0.5, limits.unknown_share * factor),
        complaints=round(limits.complaints * factor),
        complaint_share=min(0.5, limits.complaint_share * factor),
    )
    return [Signal(signal.name, signal.value, None) for signal in _shares(now, Baseline(), stricter)]


def _shares(now: Traffic, baseline: Baseline, limits: Limits) -> list[Signal]:
    usual = baseline.usual
    found = []
    least = max(limits.bad_share, limits.share_times * usual.bad_share)
    if now.bad >= limits.bad_messages and now.bad_share >= least:
        found.append(Signal("bad", now.bad_share, usual.bad_share))
    least = max(limits.unknown_share, limits.share_times * usual.unknown_share)
    if now.unknown >= limits.unknown_recipients and now.unknown_share >= least:
        found.append(Signal("unknown", now.unknown_share, usual.unknown_share))
    least = max(limits.complaint_share, limits.share_times * usual.complaint_share)
    if now.complaints >= limits.complaints and now.complaint_share >= least:
        found.append(Signal("complaints", now.complaint_share, usual.complaint_share))
    return found


def _volume(now: Traffic, baseline: Baseline, limits: Limits) -> list[Signal]:
    busiest = baseline.busiest
    if now.recipients > max(limits.flood_recipients, limits.flood_times * busiest):
        return [Signal("flood", now.recipients, busiest)]
    if now.recipients > max(limits.burst_recipients, limits.burst_times * busiest):
        return [Signal("burst", now.recipients, busiest)]
    return []


def _novelty(now: Traffic, baseline: Baseline, limits: Limits) -> list[Signal]:
    usual = baseline.usual
    foreign = now.foreign_share(usual.networks)
    found = []
    if foreign >= limits.network_share:
        found.append(Signal("networks", foreign, 0.0))
    if now.new_share >= limits.new_share:
        found.append(Signal("recipients", now.new_share, None))
    if now.domains > max(limits.domains, limits.domain_times * usual.domains):
        found.append(Signal("domains", now.domains, usual.domains))
    return found


KINDS = (_shares, _volume, _novelty)


def numbers(found: tuple[Signal, ...]) -> dict[str, list[float | None]]:
    return {
        signal.name: [round(signal.value, 3), None if signal.usual is None else round(signal.usual, 3)]
        for signal in found
    }


def network_of(address: str) -> str:
    """The network that counts as one source: /24 of IPv4, /48 of IPv6; '' for none."""
    if not address:
        return ""
    size = 48 if ":" in address else 24
    return str(ipaddress.ip_network(f"{address}/{size}", strict=False))


WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "bad": "{value:.0%} of the messages look like spam{usual}",
        "unknown": "{value:.0%} of the recipients do not exist{usual}",
        "complaints": "{value:.0%} of the recipients of the last day reported the mail as unwanted{usual}",
        "flood": "{value:,.0f} recipients within an hour{usual}",
        "burst": "{value:,.0f} recipients within an hour{usual}",
        "networks": "{value:.0%} of the messages come from networks that this login never used before",
        "recipients": "{value:.0%} of the recipients were never written to before",
        "domains": "{value:,.0f} different recipient domains{usual}",
        "usual": " (usual: {usual})",
    },
    "de": {
        "bad": "{value:.0%} der Nachrichten sehen nach Spam aus{usual}",
        "unknown": "{value:.0%} der Empfänger gibt es nicht{usual}",
        "complaints": "{value:.0%} der Empfänger des letzten Tages meldeten die Nachrichten als unerwünscht{usual}",
        "flood": "{value:,.0f} Empfänger innerhalb einer Stunde{usual}",
        "burst": "{value:,.0f} Empfänger innerhalb einer Stunde{usual}",
        "networks": "{value:.0%} der Nachrichten kommen aus Netzen, die dieser Zugang nie zuvor benutzt hat",
        "recipients": "{value:.0%} der Empfänger wurden nie zuvor angeschrieben",
        "domains": "{value:,.0f} verschiedene Empfänger-Domains{usual}",
        "usual": " (sonst: {usual})",
    },
}
SIGNALS = frozenset(WORDS["en"]) - {"usual"}
SHARES = frozenset({"bad", "unknown", "complaints", "networks", "recipients"})


def sentences(found: tuple[Signal, ...], language: str) -> list[str]:
    """The signals in words ('de' or 'en')."""
    words = WORDS.get(language, WORDS["en"])
    return [_localised(_sentence(signal, words), language) for signal in found]


def _sentence(signal: Signal, words: Mapping[str, str]) -> str:
    usual = ""
    if signal.usual is not None:
        number = f"{signal.usual:.0%}" if signal.name in SHARES else f"{signal.usual:,.0f}"
        usual = words["usual"].format(usual=number)
    return words[signal.name].format(value=signal.value, usual=usual)


def _localised(text: str, language: str) -> str:
    """German groups thousands by points; the sentences have no other commas between digits."""
    if language != "de":
        return text
    pairs = zip(text, text[1:] + " ", strict=True)
    return "".join("." if one == "," and after.isdigit() else one for one, after in pairs)


def from_numbers(stored: Mapping[str, Any]) -> tuple[Signal, ...]:
    """Signals from what `numbers` made; unknown or broken entries are left out."""
    found = []
    for name, pair in stored.items():
        if name not in SIGNALS or not isinstance(pair, list) or len(pair) != 2:
            continue
        value, usual = (one if isinstance(one, int | float) else None for one in pair)
        if value is not None:
            found.append(Signal(name, value, usual))
    return tuple(found)
