"""Words and word pairs of a text as numbers: CRC-32 folded to 18 bits, the index into the word tables.

A word is kept as its UTF-8 octets in lower case with a space behind: so its checksum is that of the word alone, and
going on from it with the next word gives that of the pair.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, islice, repeat
from zlib import crc32

WORD_BITS = 18
WORD_MASK = (1 << WORD_BITS) - 1
MAX_WORDS = 1_000
MAX_KNOWN = 20_000

_WORD = re.compile(r"[^\W\d_][\w'’]{1,24}+|[$€£]|\d{1,12}+")
_BREAKS = bytes(octet if chr(octet).isalnum() or octet in b"_'$" else 32 for octet in range(128)) + b" " * 128


class _Known(dict[bytes, tuple[bytes, ...]]):
    """Stretch of ASCII between two breaks -> its words. Mail repeats itself; what is known is forgotten as a whole at
    MAX_KNOWN stretches (long ones are not kept; an ordinary one is below ten octets)."""

    def __missing__(self, stretch: bytes) -> tuple[bytes, ...]:
        found = tuple(_spelled(stretch.decode("ascii")))
        if len(stretch) <= 32:
            if len(self) >= MAX_KNOWN:
                self.clear()
            self[stretch] = found
        return found


_known = _Known()


def words_of(text: str) -> list[bytes]:
    """The first MAX_WORDS words in lower case, numbers as their length in digits."""
    text = text.lower()
    if not text.isascii():
        return _spelled(text)[:MAX_WORDS]
    stretches = text.encode("ascii").translate(_BREAKS).split()
    return list(islice(chain.from_iterable(map(_known.__getitem__, stretches)), MAX_WORDS))


def _spelled(text: str) -> list[bytes]:
    """Every word of the text: the definition, which `words_of` only abbreviates."""
    return [
        b"#%d " % len(word) if word[0].isdigit() else (word + " ").encode("utf-8", "replace")
        for word in _WORD.findall(text)
    ]


def word_ids(words: Sequence[bytes], prefix: bytes = b"") -> set[int]:
    """Distinct ids of the words and of neighbouring pairs; `prefix` sets one kind of text apart from another."""
    firsts = list(map(crc32, words, repeat(crc32(prefix))))
    pairs = map(crc32, words[1:], firsts)
    return {number & WORD_MASK for number in chain(firsts, pairs)}
