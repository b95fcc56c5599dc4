"""Words and word pairs of a text as numbers: CRC-32 folded to 18 bits, the index into the word tables."""

from __future__ import annotations

import re
from zlib import crc32

WORD_BITS = 18
WORD_MASK = (1 << WORD_BITS) - 1
MAX_TEXT_CHARS = 6_000
MAX_WORDS = 1_000

_WORD = re.compile(r"[^\W\d_][\w'’]{1,24}+|[$€£]|\d{1,12}+")
_NUMBER = re.compile(r"\d")


def words_of(text: str) -> list[str]:
    """Lower-case words of the first MAX_TEXT_CHARS characters, numbers as their length in digits."""
    found = _WORD.findall(text[:MAX_TEXT_CHARS].lower())[:MAX_WORDS]
    return [f"#{len(word)}" if word[0].isdigit() else word for word in found]


def word_ids(words: list[str], prefix: str = "") -> set[int]:
    """Distinct ids of the words and of neighbouring pairs; `prefix` sets one kind of text apart from another."""
    start = crc32(prefix.encode())
    coded = [(word + " ").encode("utf-8", "replace") for word in words]
    firsts = [crc32(word, start) for word in coded]
    ids = {number & WORD_MASK for number in firsts}
    ids.update(crc32(word, number) & WORD_MASK for number, word in zip(firsts, coded[1:], strict=False))
    return ids
