"""What a reply means for people: look-up in the dictionary of SMTP codes and provider texts.

The data is `gateway/data/smtp_codes.yaml`, read by `gateway/codes.py`. Look-up goes from most to least specific:
a text pattern (in file order), an enhanced code that says something by itself, our own stable reason word, a general
enhanced code, a basic code, the code's class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_TEXT_CHARS = 1000  # replies are written by strangers
LANGUAGES = ("en", "de")


class Who(StrEnum):
    """Who must act."""

    SENDER = "sender"
    RECIPIENT = "recipient"  # or the recipient's administrator
    GATEWAY = "gateway"  # we
    NOBODY = "nobody"  # wait


@dataclass(frozen=True, slots=True)
class CodeText:
    """One entry in one language: plain sentences, no markup."""

    title: str
    meaning: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeEntry:
    """One cause: how it is recognised, who must act, and what to say about it."""

    key: str
    who: Who
    retry: bool  # we go on trying by ourselves (as long as the code is a temporary one)
    texts: Mapping[str, CodeText]  # by language, every one of LANGUAGES
    provider: str = ""
    patterns: tuple[re.Pattern[str], ...] = ()
    code_class: int = 0  # 4 or 5: the patterns count for these codes only; 0 = for all
    enhanced: tuple[str, ...] = ()
    basic: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def text(self, language: str) -> CodeText:
        """The text in this language ('de', 'de-at'), English for one that we do not have."""
        return self.texts.get(language[:2].lower(), self.texts["en"])


@dataclass(frozen=True, slots=True)
class CodeDictionary:
    """All entries, with indexes for the look-up. Built by `build`."""

    entries: tuple[CodeEntry, ...]
    by_enhanced: Mapping[str, CodeEntry] = field(repr=False)
    by_reason: Mapping[str, CodeEntry] = field(repr=False)
    by_basic: Mapping[str, CodeEntry] = field(repr=False)
    with_patterns: tuple[CodeEntry, ...] = field(repr=False)

    def get(self, key: str) -> CodeEntry | None:
        """The entry of this key, as in a link to /help/codes/."""
        return next((entry for entry in self.entries if entry.key == key), None)


def build(entries: Iterable[CodeEntry]) -> CodeDictionary:
    """The dictionary of these entries. Raises ValueError when two claim the same code or key, or a fall-back lacks."""
    listed = tuple(entries)
    _index(listed, "key")
    dictionary = CodeDictionary(
        entries=listed,
        by_enhanced=_index(listed, "enhanced"),
        by_reason=_index(listed, "reasons"),
        by_basic=_index(listed, "basic"),
        with_patterns=tuple(entry for entry in listed if entry.patterns),
    )
    lacking = {"2xx", "4xx", "5xx", "0"} - set(dictionary.by_basic)
    if lacking:
        raise ValueError(f"no entry for the basic codes {', '.join(sorted(lacking))}")
    return dictionary


def _index(entries: tuple[CodeEntry, ...], attribute: str) -> dict[str, CodeEntry]:
    index: dict[str, CodeEntry] = {}
    for entry in entries:
        value = getattr(entry, attribute)
        for word in (value,) if isinstance(value, str) else value:
            if word in index:
                raise ValueError(f"{attribute} {word!r} is claimed by {index[word].key} and {entry.key}")
            index[word] = entry
    return index


def explain(
    code: int, enhanced: str, text: str, dictionary: CodeDictionary, *, reason: str = ""
) -> CodeEntry:
    """The most specific entry for a reply; always one. `text` may be raw, `reason` is Outcome.reason where known."""
    text, general = text[:MAX_TEXT_CHARS], _is_general(enhanced)
    return (
        _by_text(code, text, dictionary)
        or (None if general else dictionary.by_enhanced.get(enhanced))
        or (None if general else dictionary.by_enhanced.get(_last_wild(enhanced)))
        or dictionary.by_reason.get(reason)
        or dictionary.by_enhanced.get(enhanced)
        or dictionary.by_enhanced.get(_subject_of(enhanced))
        or dictionary.by_basic.get(str(code))
        or dictionary.by_basic.get(f"{code // 100}xx", dictionary.by_basic["0"])
    )


def _by_text(code: int, text: str, dictionary: CodeDictionary) -> CodeEntry | None:
    if not text or 200 <= code < 300:  # words of praise are no cause
        return None
    for entry in dictionary.with_patterns:
        if entry.code_class in {0, code // 100} and any(pattern.search(text) for pattern in entry.patterns):
            return entry
    return None


def _is_general(enhanced: str) -> bool:
    """x.y.0 ('other') and x.7.1 ('not authorised') say nothing that our own reason does not say better."""
    return enhanced.endswith((".0", ".7.1"))


def _last_wild(enhanced: str) -> str:
    """'5.7.606' -> '5.7.6xx', for providers that number by hundreds."""
    head, _, detail = enhanced.rpartition(".")
    return f"{head}.{detail[0]}xx" if len(detail) == 3 else ""


def _subject_of(enhanced: str) -> str:
    """'5.1.99' -> '5.1.x'"""
    return enhanced.rpartition(".")[0] + ".x" if enhanced else ""
