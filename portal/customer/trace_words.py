"""The checks of a message in plain words: what each step is called, and its evidence as sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from gateway.rules.behaviour import from_numbers, sentences
from gateway.spam.symbols import describe

Detail = dict[str, Any]
Sentence = Callable[[Detail], str]

TITLES: dict[str, str | Promise] = {
    "account": gettext_lazy("Account and login"),
    "sender_domain": gettext_lazy("Sender domain resolves"),
    "ownership": gettext_lazy("Sender is yours"),
    "rate": gettext_lazy("Sending limit"),
    "authors": gettext_lazy("From header is yours"),
    "loop": gettext_lazy("No mail loop"),
    "virus": gettext_lazy("Virus scan"),
    "spam": gettext_lazy("Spam score"),
    "behaviour": gettext_lazy("Unusual for this login"),
    "route": gettext_lazy("Way out"),
    "dkim": gettext_lazy("DKIM signature"),
    "tls": gettext_lazy("TLS policy"),
    "recipient": gettext_lazy("Recipient"),
}


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One check as the page shows it."""

    step: str
    title: str
    outcome: str
    sentence: str
    ms: float


def trace_lines(trace: list[dict[str, Any]]) -> list[TraceLine]:
    """A stored trace in words; steps without words of their own show their evidence as it is."""
    return [_line(entry) for entry in trace]


def _line(entry: dict[str, Any]) -> TraceLine:
    step, detail = str(entry.get("step", "")), entry.get("detail") or {}
    title = str(TITLES.get(step, step))
    return TraceLine(
        step,
        title,
        str(entry.get("outcome", "info")),
        _sentence(step, entry, detail),
        float(entry.get("ms") or 0),
    )


def _sentence(step: str, entry: dict[str, Any], detail: Detail) -> str:
    if entry.get("outcome") in ("refuse", "defer") and detail.get("reply"):
        return _("We answered: %(reply)s") % {"reply": detail["reply"]}
    words = SENTENCES.get(step)
    return words(detail) if words else _plain(detail)


def _plain(detail: Detail) -> str:
    return ", ".join(f"{name}: {value}" for name, value in detail.items() if value not in (None, "", [], {}))


def _account(detail: Detail) -> str:
    login = detail.get("login")
    return (
        _("Logged in as %(login)s.") % {"login": login}
        if login
        else _("Handed over from a registered network.")
    )


def _sender_domain(detail: Detail) -> str:
    return _("%(domain)s has a public MX or address record.") % {"domain": detail.get("domain", "?")}


def _ownership(detail: Detail) -> str:
    return _("%(sender)s belongs to a domain that you have proven.") % {"sender": detail.get("sender", "?")}


def _rate(detail: Detail) -> str:
    limit = detail.get("limit")
    return _("Within %(limit)s messages a minute.") % {"limit": limit} if limit else _("No limit is set.")


def _authors(detail: Detail) -> str:
    return _("Exactly one author, %(author)s, of a domain that you have proven.") % {
        "author": detail.get("from", "?")
    }


def _loop(detail: Detail) -> str:
    number = int(detail.get("received") or 0)
    return ngettext(
        "%(number)s server handled it before us.", "%(number)s servers handled it before us.", number
    ) % {"number": number}


def _virus(detail: Detail) -> str:
    if detail.get("scanned"):
        return _("Scanned, nothing found.")
    return _("Not scanned: no virus scanner is configured here.")


def _spam(detail: Detail) -> str:
    score, threshold = detail.get("score", 0), detail.get("threshold", 40)
    sentence = _("Score %(score)s of 100; from %(threshold)s on a message counts as suspect.") % {
        "score": f"{score:g}", "threshold": f"{threshold:g}",
    }  # fmt: skip
    degraded = detail.get("degraded")
    if degraded:
        sentence += " " + _("Did not answer: %(engines)s; the others decided.") % {
            "engines": ", ".join(degraded)
        }
    return sentence


def _behaviour(detail: Detail) -> str:
    return "; ".join(sentences(from_numbers(detail), get_language() or "en")) + "."


def _route(detail: Detail) -> str:
    return _("Pool %(pool)s, gateway %(gateway)s.") % {
        "pool": detail.get("pool", "?"), "gateway": detail.get("gateway", "?"),
    }  # fmt: skip


def _dkim(detail: Detail) -> str:
    if not detail.get("selector"):
        return _("Not signed: no active key for %(domain)s.") % {"domain": detail.get("domain", "?")}
    return _("Signed as %(selector)s._domainkey.%(domain)s.") % {
        "selector": detail["selector"], "domain": detail.get("domain", "?"),
    }  # fmt: skip


def signature_sentence(signed_by: str, author_domain: str) -> str:
    """Of an attempt's 'selector._domainkey.domain'; '' means that it left without a signature."""
    selector, _label, domain = signed_by.partition("._domainkey.")
    return _dkim({"selector": selector, "domain": domain or author_domain})


SENTENCES: dict[str, Sentence] = {
    "account": _account, "sender_domain": _sender_domain, "ownership": _ownership, "rate": _rate, "authors": _authors,
    "loop": _loop, "virus": _virus, "spam": _spam, "behaviour": _behaviour, "route": _route, "dkim": _dkim,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SymbolLine:
    name: str
    words: str
    share: float
    width: int  # of its bar, 0..100


def symbol_lines(symbols: list[Any]) -> list[SymbolLine]:
    """The reasons of a score, heaviest first, in the reader's language."""
    pairs = sorted(((str(name), float(share)) for name, share in symbols), key=lambda pair: -pair[1])
    top = max((abs(share) for _name, share in pairs), default=1) or 1
    return [
        SymbolLine(name, symbol_words(name), share, round(abs(share) / top * 100)) for name, share in pairs
    ]


def symbol_words(name: str) -> str:
    return describe(name, get_language() or "en")
