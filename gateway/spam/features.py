"""A mail as numbers: which features it has, packed without any of its text.

`extract` turns bytes into `Features`; `pack`/`unpack` store them in a few hundred bytes for back-tests. A feature is
the CRC-32 of its token folded to 18 bits; structure features keep the symbol they belong to, word features do not
need to. Rescoring unpacked features gives the identical score because scoring itself starts from `Features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
from gateway.spam.words import WORD_MASK, word_ids, words_of

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
VERSION = 1
MAX_STORED_WORDS = 2_000


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
    text = _judged_text(plain, pages)
    words = words_of(text)
    subject_words = words_of(subject[:300])
    tokens = all_tokens(
        _token_groups(mail, pages, plain, text, subject, [*subject_words, *words], sender, recipients)
    )
    return Features(
        language([*subject_words, *words], text),
        GTUBE in raw[:200_000],
        _grouped(tokens),
        tuple(sorted(word_ids(subject_words, "s"))),
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
    words: list[str],
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
        text_tokens(text),
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
    """Version, flags, language, then groups of ascending ids as differences in 7-bit bytes."""
    out = bytearray((VERSION, features.gtube))
    out += features.language.encode("ascii")
    out.append(len(features.structure))
    for name, ids in features.structure:
        out.append(INDEX[name])
        _pack_ids(out, ids)
    _pack_ids(out, features.subject)
    _pack_ids(out, features.body)
    return bytes(out)


def unpack(data: bytes) -> Features:
    """Inverse of `pack`; FeaturesError for anything else."""
    try:
        return _unpack(data)
    except (IndexError, UnicodeDecodeError) as error:
        raise FeaturesError("broken feature vector") from error


def _unpack(data: bytes) -> Features:
    if len(data) < 5 or data[0] != VERSION:
        raise FeaturesError("unknown version of feature vector")
    at = 5
    groups = []
    for _ in range(data[4]):
        name = NAMES[data[at]]
        ids, at = _unpack_ids(data, at + 1)
        groups.append((name, ids))
    subject, at = _unpack_ids(data, at)
    body, at = _unpack_ids(data, at)
    if at != len(data):
        raise FeaturesError("broken feature vector")
    return Features(data[2:4].decode("ascii"), bool(data[1]), tuple(groups), subject, body)


def _pack_ids(out: bytearray, ids: tuple[int, ...]) -> None:
    _pack_number(out, len(ids))
    last = 0
    for number in ids:
        _pack_number(out, number - last)
        last = number


def _pack_number(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _unpack_ids(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    count, at = _unpack_number(data, at)
    if count > len(data):
        raise FeaturesError("broken feature vector")
    ids = []
    last = 0
    for _ in range(count):
        step, at = _unpack_number(data, at)
        last = (last + step) & WORD_MASK
        ids.append(last)
    return tuple(ids), at


def _unpack_number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] > 127 and shift < 28:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1
