"""What a server's reply means, from the dictionary of SMTP codes, in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import get_language

from gateway.codes import code_dictionary
from gateway.rules.codes import CodeEntry, explain


@dataclass(frozen=True, slots=True)
class Meaning:
    key: str
    title: str
    meaning: str
    steps: tuple[str, ...]
    who: str  # sender | recipient | gateway | nobody
    retry: bool
    provider: str = ""


def meaning_of(code: int | None, enhanced: str, text: str, reason: str = "") -> Meaning:
    return in_words(explain(code or 0, enhanced, text, code_dictionary(), reason=reason))


def by_key(key: str) -> Meaning | None:
    """The entry that NdrReport.cause names, or None when the dictionary lost it."""
    found = next((entry for entry in code_dictionary().entries if entry.key == key), None)
    return in_words(found) if found else None


def all_meanings() -> list[tuple[CodeEntry, Meaning]]:
    return [(entry, in_words(entry)) for entry in code_dictionary().entries]


def in_words(entry: CodeEntry) -> Meaning:
    text = entry.texts.get(get_language() or "en") or entry.texts["en"]
    return Meaning(
        entry.key, text.title, text.meaning, tuple(text.steps), str(entry.who), entry.retry, entry.provider
    )
