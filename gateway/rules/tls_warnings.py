"""When the daily test of a forced TLS rule is worth a mail to the customer, and its words in German and English.

A probe is what TlsRule.probe holds: {state, checked_at, expires_at, problem}, here with two more keys: `failures`
(tests in a row that failed) and `warned_for` (the certificate end that was already warned of).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

EXPIRES_SOON = timedelta(days=14)
FAILURES_BEFORE_WARNING = 2  # one failed test may be our own bad moment

CHECKED_LEVELS = frozenset({"verify", "dane"})  # for `encrypt` a certificate's end does not matter


@dataclass(frozen=True, slots=True)
class Judged:
    """The probe to keep, and why to write: '' | 'broken' | 'recovered' | 'expires'."""

    probe: dict[str, Any]
    warning: str = ""


def judge(old: dict[str, Any], new: dict[str, Any], level: str, now: datetime) -> Judged:
    """Compare two probes of one rule."""
    failures = int(old.get("failures") or 0) + 1 if new["state"] == "fails" else 0
    probe = {**new, "failures": failures, "warned_for": old.get("warned_for")}
    if failures == FAILURES_BEFORE_WARNING:
        return Judged(probe, "broken")
    if not failures and int(old.get("failures") or 0) >= FAILURES_BEFORE_WARNING:
        return Judged(probe, "recovered")
    if level in CHECKED_LEVELS and _expires_soon(new, now) and probe["warned_for"] != new["expires_at"]:
        return Judged({**probe, "warned_for": new["expires_at"]}, "expires")
    return Judged(probe)


_WORST_FIRST = ("fails", "partly", "unavailable", "works")


def together(probes: Mapping[str, dict[str, Any]], now: datetime) -> dict[str, Any]:
    """One probe of a '.suffix' rule from those of the domains below it: the worst counts, and is named. Without any
    domain nothing is known: 'unavailable'."""
    ends = [probe["expires_at"] for probe in probes.values() if probe["expires_at"]]
    found = {"checked_at": now.isoformat(), "expires_at": min(ends, default=None)}
    if not probes:
        return {**found, "state": "unavailable", "problem": ""}
    domain, worst = min(probes.items(), key=lambda pair: _WORST_FIRST.index(pair[1]["state"]))
    return {
        **found,
        "state": worst["state"],
        "problem": f"{domain}: {worst['problem']}" if worst["problem"] else "",
    }


def _expires_soon(probe: dict[str, Any], now: datetime) -> bool:
    end = str(probe.get("expires_at") or "")
    return end != "" and now <= datetime.fromisoformat(end) <= now + EXPIRES_SOON


_SUBJECTS = {
    ("broken", "en"): "Forced TLS to {domain} does not work at the moment",
    ("broken", "de"): "TLS-Zwang zu {domain} ist zurzeit nicht erfüllbar",
    ("recovered", "en"): "Forced TLS to {domain} works again",
    ("recovered", "de"): "TLS-Zwang zu {domain} ist wieder erfüllbar",
    ("expires", "en"): "The certificate of {domain}'s mail server ends on {end}",
    ("expires", "de"): "Das Zertifikat des Mailservers von {domain} läuft am {end} ab",
}
_TEXTS = {
    ("broken", "en"): (
        "You have a rule that mail to {domain} must be encrypted (level: {level}).\n"
        "Our last tests of their servers failed:\n\n    {problem}\n\n"
        "Mail to {domain} is {consequence} until this changes. Please ask the operator of {domain}'s mail servers,\n"
        "or change the rule: {url}\n"
    ),
    ("broken", "de"): (
        "Nach Ihrer Regel muss Mail an {domain} verschlüsselt werden (Stufe: {level}).\n"
        "Unsere letzten Tests der Server dort sind fehlgeschlagen:\n\n    {problem}\n\n"
        "Mail an {domain} wird {consequence}, bis sich das ändert. Bitte fragen Sie den Betreiber der Mailserver von\n"
        "{domain}, oder ändern Sie die Regel: {url}\n"
    ),
    (
        "recovered",
        "en",
    ): "Our latest test was good: mail to {domain} can be encrypted as your rule demands.\n{url}\n",
    ("recovered", "de"): (
        "Unser letzter Test war gut: Mail an {domain} kann so verschlüsselt werden, wie Ihre Regel es verlangt.\n"
        "{url}\n"
    ),
    ("expires", "en"): (
        "A certificate of {domain}'s mail servers ends on {end}. If it is not renewed in time, mail to {domain}\n"
        "will be {consequence}, because your rule (level: {level}) does not accept an expired certificate.\n"
        "Most operators renew in the last days; if the date comes near, tell them. Your rules: {url}\n"
    ),
    ("expires", "de"): (
        "Ein Zertifikat der Mailserver von {domain} läuft am {end} ab. Wird es nicht rechtzeitig erneuert, wird Mail\n"
        "an {domain} {consequence}, weil Ihre Regel (Stufe: {level}) kein abgelaufenes Zertifikat annimmt.\n"
        "Die meisten Betreiber erneuern in den letzten Tagen; rückt das Datum nahe, sagen Sie Bescheid.\n"
        "Ihre Regeln: {url}\n"
    ),
}
_CONSEQUENCES = {
    ("reject", "en"): "returned to the sender",
    ("reject", "de"): "an den Absender zurückgegeben",
    ("hold", "en"): "held",
    ("hold", "de"): "zurückgehalten",
}


def letter(
    warning: str, language: str, *, domain: str, level: str, on_failure: str, probe: dict[str, Any], url: str
) -> tuple[str, str]:
    """(subject, text) of the mail about one rule; `language` is 'de' or 'en'."""
    end = str(probe.get("expires_at") or "")[:10]
    values = {
        "domain": domain,
        "level": level,
        "problem": probe.get("problem") or "-",
        "consequence": _CONSEQUENCES[on_failure, language],
        "end": end,
        "url": url,
    }
    return _SUBJECTS[warning, language].format(**values), _TEXTS[warning, language].format(**values)
