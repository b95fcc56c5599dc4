"""A mail as numbers: which features it has, packed without any of its text.

`extract` turns bytes into `Features`; `pack`/`unpack` store them in a few hundred bytes for back-tests. A feature is
the CRC-32 of its token folded to 18 bits; structure features keep the symbol they belong to, word features do not
need to. Rescoring unpacked features gives the identical score because scoring itself starts from `Features`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from gateway.spam.html import Page, read_html
from gateway.spam.language import language
from gateway.spam.links import collect_urls, link_tokens
from gateway.spam.parse import Mail, read_mail
from gateway.spam.phrases import phrases_in
from gateway.spam.structure import (
    REPLY_PREFIX,
    Token,
    address_of,
    all_tokens,
    header_tokens,
    html_tokens,
    layout_tokens,
    sender_tokens,
    subject_tokens,
    text_tokens,
)
from gateway.spam.symbols import INDEX, NAMES
from gateway.spam.words import WORD_BITS, WORD_MASK, word_ids, words_of

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
VERSION = 1
_HEAD = struct.Struct("<BB2sH")
_RUNS = struct.Struct("<4H")
MAX_STORED_WORDS = 2_000
MAX_TEXT_CHARS = 2_000
"""How much of a text is judged. More of it judges unseen sources worse and costs more (docs/judging.md)."""


@dataclass(frozen=True, slots=True)
class Features:
    """What scoring needs. `structure`: symbol name -> ids; `subject`/`body`: word ids; all ids ascending, 18 bits."""

    language: str
    gtube: bool
    structure: tuple[tuple[str, tuple[int, ...]], ...]
    subject: tuple[int, ...]
    body: tuple[int, ...]


def extract(raw: bytes, sender: str = "", recipients: Sequence[str] = ()) -> Features:
    """Features of one message. Never raises; costs no more than the caps of `parse`, `html` and `words` allow."""
    mail = read_mail(raw)
    pages = [read_html(part.text) for part in mail.parts if part.text and part.content_type == "text/html"]
    plain = "\n".join(part.text for part in mail.parts if part.text and part.content_type != "text/html")
    subject = REPLY_PREFIX.sub("", mail.header("subject"))
    text = _judged_text(plain, pages)[:MAX_TEXT_CHARS]
    words = words_of(text)
    subject_words = words_of(subject[:300])
    tokens = all_tokens(
        _token_groups(mail, pages, plain, text, subject, [*subject_words, *words], sender, recipients)
    )
    return Features(
        language([*subject_words, *words], text),
        GTUBE in raw[:200_000],
        _grouped(tokens),
        tuple(sorted(word_ids(subject_words, b"s"))),
        tuple(sorted(word_ids(words))[:MAX_STORED_WORDS]),
    )


def _judged_text(plain: str, pages: list[Page]) -> str:
    """The richer of both renderings: HTML is what most readers see, unless it is only a wrapper."""
    shown = "\n".join(page.text for page in pages)
    return shown if len(shown.strip()) * 2 > len(plain.strip()) else plain


def _token_groups(
    mail: Mail,
    pages: list[Page],
    plain: str,
    text: str,
    subject: str,
    words: list[bytes],
    sender: str,
    recipients: Sequence[str],
) -> Iterable[Iterable[Token]]:
    _, _, domain = address_of(mail.header("from") or sender)
    to_local = _first_local(mail, recipients)
    return (
        header_tokens(mail),
        sender_tokens(mail),
        subject_tokens(subject, to_local),
        layout_tokens(mail),
        text_tokens(text, words),
        phrases_in(words),
        link_tokens(collect_urls(plain, pages), domain, to_local),
        *(html_tokens(page, len(plain)) for page in pages[:3]),
    )


def _first_local(mail: Mail, recipients: Sequence[str]) -> str:
    """Local part of the first recipient; the header comes first so that the bytes alone decide where they can."""
    local = address_of(mail.header("to"))[1]
    return (local or (recipients[0].rpartition("@")[0].lower() if recipients else ""))[:64]


def _grouped(tokens: Iterable[Token]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    groups: dict[str, set[int]] = {}
    for symbol, token in tokens:
        groups.setdefault(symbol, set()).add(
            crc32(f"{symbol}|{token}".encode("utf-8", "replace")) & WORD_MASK
        )
    return tuple((name, tuple(sorted(groups[name]))) for name in sorted(groups))


class FeaturesError(ValueError):
    """The bytes are no feature vector of this version."""


def pack(features: Features) -> bytes:
    """Version, flags, language; structure as 32-bit numbers (symbol above the id); words as 16-bit numbers in four
    runs, one for each value of the two bits above. Little-endian."""
    structure = [INDEX[name] << WORD_BITS | number for name, ids in features.structure for number in ids]
    head = _HEAD.pack(VERSION, features.gtube, features.language.encode("ascii"), len(structure))
    return b"".join(
        (head, _octets("I", structure), _pack_words(features.subject), _pack_words(features.body))
    )


def unpack(data: bytes) -> Features:
    """Inverse of `pack`; FeaturesError for anything else."""
    try:
        return _unpack(data)
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise FeaturesError("broken feature vector") from error


def _unpack(data: bytes) -> Features:
    version, flags, code, count = _HEAD.unpack_from(data)
    if version != VERSION:
        raise FeaturesError("unknown version of feature vector")
    start = _HEAD.size + 4 * count
    groups: dict[str, list[int]] = {}
    for number in _numbers("I", data, _HEAD.size, count):
        groups.setdefault(NAMES[number >> WORD_BITS], []).append(number & WORD_MASK)
    subject, start = _unpack_words(data, start)
    body, start = _unpack_words(data, start)
    if start != len(data):
        raise FeaturesError("broken feature vector")
    return Features(
        code.decode("ascii"),
        bool(flags),
        tuple((name, tuple(ids)) for name, ids in groups.items()),
        subject,
        body,
    )


def _pack_words(ids: tuple[int, ...]) -> bytes:
    cuts = [bisect_left(ids, run << 16) for run in range(5)]
    lower_halves = memoryview(_octets("I", ids)).cast("H")[::2].tobytes()
    return _RUNS.pack(*(b - a for a, b in pairwise(cuts))) + lower_halves


def _unpack_words(data: bytes, start: int) -> tuple[tuple[int, ...], int]:
    runs = _RUNS.unpack_from(data, start)
    high = [run << 16 for run, count in enumerate(runs) for _ in range(count)]
    low = _numbers("H", data, start + _RUNS.size, len(high))
    return tuple(a | b for a, b in zip(high, low, strict=True)), start + _RUNS.size + 2 * len(high)


def _octets(kind: str, numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}{kind}", *numbers)


def _numbers(kind: str, data: bytes, start: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}{kind}", data, start)
