"""How a mail is built: headers, sender, layout, links, shape of the text, as (symbol, token) pairs.

These are the features that hold for mail of unseen kinds, languages and years. Never among them: In-Reply-To,
References, a leading "Re:", quote marks, the numbers of To and Cc (the training ham was labelled by threads, and who
answers a list answers to all) and the date (dates are replayed).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from gateway.spam.charset import charset_name
from gateway.spam.html import Page
from gateway.spam.names import BRANDS, FREEMAIL
from gateway.spam.parse import Mail, Part
from gateway.spam.urls import CHEAP_TLDS, organisation

Token = tuple[str, str]

REPLY_PREFIX = re.compile(
    r"^(?:\s{0,5}(?:re|aw|wg|fwd?|sv|antw|rv)(?:\[\d{1,3}\])?\s{0,3}:)+\s{0,20}", re.IGNORECASE
)
KNOWN_TAGS = frozenset(
    "a b i u p br hr div span table tr td th tbody thead img font center html head body meta style script title link "
    "form input button h1 h2 h3 ul ol li strong em blockquote pre code tt big small map area marquee o:p v:shape "
    "sup sub !-- !doctype base iframe svg section header footer".split()
)
EXTENSIONS = frozenset(
    "pdf doc docx docm xls xlsx xlsm ppt pptx zip rar 7z gz tar iso img exe scr com bat cmd js vbs jar html htm shtml "
    "svg txt csv png jpg jpeg gif ics vcf eml p7s asc sig patch diff c h py xml rtf lnk one ace".split()
)
EXECUTABLE = frozenset("exe scr com bat cmd js vbs jar lnk iso img ace docm xlsm one".split())
_WESTERN = frozenset(("iso-8859-1", "iso-8859-15", "windows-1252", "cp1252"))
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_SHAPE = (
    (re.compile(r"[0-9a-f]{12,}", re.IGNORECASE), "x"),
    (re.compile(r"\d+"), "9"),
    (re.compile(r"[A-Za-z]+"), "a"),
)
_BOXED = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"|([^<"]*+))\s*+<([^<>]{0,400}+)>')
_BARE = re.compile(r"[^\s,;:<>()\"]{1,200}@[^\s,;:<>()\"]{1,255}")
_ADDRESS = re.compile(r"[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,5})")
_PUNCTUATION = re.compile(r"[!?$%€£*]")
_ROLE = frozenset(
    "info noreply no-reply donotreply do-not-reply support admin sales service contact news newsletter billing "
    "marketing mail office webmaster postmaster root notifications notification alerts hello team kundenservice".split()
)
_NOT_LATIN = re.compile("[^\u0000-\u024f\u2010-\u2026\u20ac]")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_STYLED = re.compile("[\U0001d400-\U0001d7ff\uff01-\uff5e\u24b6-\u24e9]")


def bucket(number: int) -> str:
    """0, 1, 2, 3-4, 5-8, ... as the bit length: counts that differ little give one token."""
    return str(max(number - 1, 0).bit_length() + (number > 0))


def address_of(value: str) -> tuple[str, str, str]:
    """(display name, local part, domain) of a header's first mailbox, address in lower case, "" where absent.

    Not the strict grammar of `rules`: what a reader's program would show of a header that may be broken. (The
    standard library's parser recurses over comments and can be made to fail.)
    """
    value = value[:500]
    boxed = _BOXED.match(value)
    if boxed is not None:
        quoted, plain, address = boxed.groups()
        name = (plain if quoted is None else quoted.replace("\\", "")).strip()
    else:
        bare = _BARE.search(value)
        name, address = "", bare.group() if bare else ""
    local, _, domain = address.lower().rpartition("@")
    return name, local, domain.strip(". ")


def shape(text: str) -> str:
    """Characters folded to classes: `20021015.AB12@host` -> `9.a9@a`; the habit of a program, not its content."""
    text = text[:80]
    for pattern, sign in _SHAPE:
        text = pattern.sub(sign, text)
    return text[:32]


def header_tokens(mail: Mail) -> Iterator[Token]:
    """Which program wrote the mail, how it numbers messages."""
    mailer = mail.header("x-mailer") or mail.header("user-agent")
    yield "MAIL_PROGRAM", "mailer:" + " ".join(_LETTERS.findall(mailer[:60])[:2]).lower()
    for name in (
        "x-priority",
        "x-msmail-priority",
        "importance",
        "priority",
        "organization",
        "x-php-originating-script",
    ):
        if name in mail.headers:
            yield "MAIL_PROGRAM", f"has:{name}:{mail.header(name)[:1] if name == 'x-priority' else ''}"
    message_id = mail.header("message-id")
    yield "MESSAGE_ID", "present" if message_id else "none"


def sender_tokens(mail: Mail) -> Iterator[Token]:
    """The display name against the address, Reply-To and Message-ID against From."""
    name, local, domain = address_of(mail.header("from"))
    own = organisation(domain)
    label = own.partition(".")[0]
    if domain.rpartition(".")[2] in CHEAP_TLDS:
        yield "SENDER_ADDRESS", "tld:cheap"
    yield "SENDER_ADDRESS", "local:" + ("role" if local in _ROLE else shape(local)[:8])
    yield "SENDER_ADDRESS", f"domain:{shape(label)[:5]}"
    if label in FREEMAIL:
        yield "FREEMAIL", "from"
    yield from _name_tokens(name, local, domain, own)
    right = mail.header("message-id").rpartition("@")[2].strip("> ").lower()
    yield "MESSAGE_ID", "own" if own and organisation(right) == own else "other"
    _, _, reply_domain = address_of(mail.header("reply-to"))
    if reply_domain:
        reply = organisation(reply_domain)
        kind = "same" if reply == own else "freemail" if reply.partition(".")[0] in FREEMAIL else "other"
        yield ("REPLY_ELSEWHERE" if kind != "same" else "REPLY_TO"), kind


def _name_tokens(name: str, local: str, domain: str, own: str) -> Iterator[Token]:
    lowered = name.lower()
    parts = _LETTERS.findall(lowered)
    yield "SENDER_NAME", f"words:{min(len(parts), 5)}"
    yield (
        "SENDER_NAME",
        "case:"
        + ("none" if not name else "upper" if name.isupper() else "lower" if name.islower() else "mixed"),
    )
    yield "SENDER_NAME", f"in-local:{any(len(part) > 2 and part in local for part in parts)}"
    if any(len(part) > 3 and part in own for part in parts):
        yield "SENDER_NAME", "in-domain"
    if _NOT_LATIN.search(name):
        yield "SENDER_NAME", "non-latin"
    claimed = _ADDRESS.search(lowered)
    if claimed:
        yield (
            ("SENDER_NAME", "address")
            if organisation(claimed.group(1)) == own
            else ("ADDRESS_IN_NAME", "other")
        )
    elif _DIGITS.search(name):
        yield "SENDER_NAME", "digits"
    if brand_misused(lowered, domain):
        yield "BRAND_MISMATCH", "from"


def brand_misused(lowered: str, domain: str) -> bool:
    """True when the text names a brand as a word of its own and the domain belongs to somebody else."""
    if not lowered or not domain:
        return False
    words = _LETTERS_DIGITS.findall(lowered)
    if _BRAND_STARTS.isdisjoint(words):
        return False
    padded = f" {' '.join(words)} "
    labels = set(organisation(domain).split("."))
    return any(f" {brand} " in padded and labels.isdisjoint(allowed) for brand, allowed in BRANDS.items())


_LETTERS_DIGITS = re.compile(r"[\w&.-]+")
_BRAND_STARTS = frozenset(brand.split()[0] for brand in BRANDS)


def subject_tokens(subject: str, to_local: str) -> Iterator[Token]:
    """The subject's shape, its reply prefix taken off."""
    letters = sum(map(len, _LETTERS.findall(subject)))
    upper = sum(map(str.isupper, subject))
    yield "SUBJECT", "length:" + bucket(len(subject) // 8)
    yield "SUBJECT", f"upper:{4 * upper // (letters + 1)}"
    for sign in sorted(set(_PUNCTUATION.findall(subject))):
        yield "SUBJECT", "sign:" + sign
    if subject.endswith(("!", "?", ".", ":")):
        yield "SUBJECT", "ends:" + subject[-1]
    if re.search(r"\d{4,}", subject):
        yield "SUBJECT", "number"
    if "  " in subject.strip() or "\t" in subject:
        yield "SUBJECT", "gap"
    if _NOT_LATIN.search(subject):
        yield "SUBJECT", "emoji" if _EMOJI.search(subject) else "non-latin"
    if subject[:1].islower():
        yield "SUBJECT", "starts-lower"
    if re.match(r"[\[(]", subject):
        yield "SUBJECT", "tagged"
    if ":" in subject[:25]:
        yield "SUBJECT", "topic"
    if len(to_local) > 2 and to_local in subject.lower():
        yield "RECIPIENT_NAMED", "subject"


def layout_tokens(mail: Mail) -> Iterator[Token]:
    """The tree of parts, encodings, charsets, attachments."""
    yield "LAYOUT", "tree:" + tree(mail.parts)
    for part in mail.parts[:20]:
        if part.text is not None:
            kind = part.content_type
            yield "LAYOUT", f"{kind}:cte:{part.encoding}"
            charset = charset_name(part.parameters.get("charset", ""))
            yield "CHARSET", "charset:" + ("western" if charset in _WESTERN else charset or "none")
        if part.content_type.startswith("multipart/"):
            yield "MAIL_PROGRAM", "boundary:" + shape(part.parameters.get("boundary", ""))[:16]
    yield from _attachment_tokens(mail.parts)
    if mail.truncated:
        yield "LAYOUT", "truncated"


def tree(parts: list[Part]) -> str:
    """Types in order with their depth, at most eight."""
    return ",".join(f"{part.depth}{part.content_type[:24]}" for part in parts[:8])


def _attachment_tokens(parts: list[Part]) -> Iterator[Token]:
    files = [part for part in parts if part.filename or part.disposition == "attachment"]
    if files:
        yield "ATTACHMENT", "count:" + bucket(len(files))
    for part in files[:10]:
        pieces = part.filename.lower().rsplit(".", 2)
        extension = pieces[-1] if len(pieces) > 1 and pieces[-1] in EXTENSIONS else "other"
        symbol = (
            "RISKY_ATTACHMENT"
            if extension in EXECUTABLE or extension in ("html", "htm", "shtml", "svg")
            else "ATTACHMENT"
        )
        yield symbol, "ext:" + extension
        if len(pieces) > 2 and pieces[-2] in EXTENSIONS and extension in EXECUTABLE:
            yield "RISKY_ATTACHMENT", "double"


def html_tokens(page: Page, plain_chars: int) -> Iterator[Token]:
    """How the HTML is built; `plain_chars` is the length of the plain text beside it."""
    total = sum(page.tags.values())
    for tag in page.tags:
        if tag in KNOWN_TAGS:
            yield "HTML", "tag:" + tag
    yield "HTML", "tags:" + bucket(total)
    yield "HTML", f"ratio:{min(8 * len(page.text.strip()) // (page.length + 1), 7)}"
    yield "HTML", "images:" + bucket(page.tags.get("img", 0))
    yield (
        "HTML",
        "plain:" + ("none" if plain_chars < 20 else "short" if plain_chars * 3 < len(page.text) else "full"),
    )
    lowered = page.attributes[:20_000].lower()
    for sign in (
        "bgcolor",
        "class=",
        "style=",
        "align=",
        "border=0",
        "cellpadding",
        "color:",
        "font-family",
        "max-width",
        "alt=",
        "face=",
    ):
        if sign in lowered:
            yield "HTML", "attribute:" + sign
    if "microsoft" in lowered or "mso" in lowered:
        yield "HTML", "office"
    if page.hidden:
        yield "HIDDEN_TEXT", "style:" + bucket(page.hidden)
    if page.tags.get("img") and len(page.text.strip()) < 120:
        yield "IMAGE_ONLY", "image"
    if page.tags.get("form") or page.tags.get("input"):
        yield "FORM_IN_MAIL", "form"


_UPPER = bytes(range(65, 91))
_LOWER = bytes(range(97, 123))
_DIGIT = bytes(range(48, 58))
_CLASSES = bytes.maketrans(
    _UPPER + _LOWER + _DIGIT + b".*_-", b"A" * len(_UPPER) + b"a" * len(_LOWER) + b"0" * len(_DIGIT) + b"    "
)
"""Letters, digits and signs that may stand between letters as one octet each: what is sought in a text by expensive
expressions is first sought in this picture of it, at the speed of `bytes.find`."""
_ALPHANUMERIC = bytes.maketrans(_UPPER + _LOWER + _DIGIT, b"a" * 62)
_BETWEEN_DIGITS = b" \t\r().-+"


def text_tokens(text: str, words: Collection[bytes]) -> Iterator[Token]:
    """Length, lines, case, digits and odd characters of the visible text; `words`: what `words_of` found in it."""
    size = len(text) + 1
    plain = text.encode("ascii", "ignore")
    picture = plain.translate(_CLASSES)
    yield "TEXT_SHAPE", "length:" + bucket(len(text) // 64)
    yield "TEXT_SHAPE", f"upper:{min(16 * picture.count(b'A') // size, 8)}"
    yield "TEXT_SHAPE", f"digits:{min(16 * picture.count(b'0') // size, 6)}"
    yield "TEXT_SHAPE", f"marks:{bucket(plain.count(b'!'))}"
    lines = [len(line) for line in text.split("\n") if line and not line.isspace()]
    yield "TEXT_SHAPE", "lines:" + bucket(len(lines))
    yield "TEXT_SHAPE", "longest:" + bucket(max(lines, default=0) // 16)
    if "\n-- \n" in text:
        yield "TEXT_SHAPE", "signature"
    if b"\n\n\n\n" in plain.translate(None, b" "):
        yield "TEXT_SHAPE", "empty-lines"
    yield from _spaced_tokens(text, picture) if len(plain) == len(text) else oddity_tokens(text)
    yield from amount_tokens(text, plain, words)


def _spaced_tokens(text: str, picture: bytes) -> Iterator[Token]:
    """Letters spaced out in a text of ASCII alone."""
    if b"a a a a a " in picture.lower() and _SPACED.search(text):
        yield "DISGUISED_TEXT", "spaced"


_ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u034f\u180e]")
_MIXED = re.compile("[a-zA-Z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][a-zA-Z]")
_SCRIPT = (
    ("cyrillic", re.compile("[\u0400-\u04ff]{3}")),
    ("cjk", re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]{2}")),
    ("arabic", re.compile("[\u0590-\u06ff]{3}")),
    ("other", re.compile("[\u0e00-\u0e7f\u0900-\u097f]{3}")),
)
_ODD = re.compile("[^\u0000-\u00ac\u00ae-\u024f\u2010-\u2026\u20ac]")
_SPACED = re.compile(r"(?:\b[A-Za-z][ .*_-]){5}")


def oddity_tokens(text: str) -> Iterator[Token]:
    """Invisible characters, letters of two alphabets in one word, letters from mathematical fonts."""
    odd = "".join(_ODD.findall(text))
    hidden = len(_ZERO_WIDTH.findall(odd))
    if hidden:
        yield "HIDDEN_TEXT", "zero-width:" + bucket(hidden // 4)
    if len(odd) > 2 and len(_MIXED.findall(text)) > 2:
        yield "DISGUISED_TEXT", "mixed-scripts"
    if _STYLED.search(odd):
        yield "DISGUISED_TEXT", "styled"
    if _EMOJI.search(odd):
        yield "TEXT_SHAPE", "emoji"
    for name, pattern in _SCRIPT if len(odd) > 1 else ():
        if pattern.search(text):
            yield "TEXT_SHAPE", "script:" + name


_MONEY = re.compile(
    r"(?:[$€£]|\b(?:US|USD|EUR|GBP)\s?\$?)\s?\d[\d.,]{0,20}|\d[\d.,]{0,20}\s?(?:[$€£]|\b(?:USD|EUR|GBP|dollars|euros?)\b)"
)
_PHONE = re.compile(r"(?:\+|\b00|\b1-?8\d\d|\(\d{3}\))[\d\s().-]{7,16}\d|\b\d{3}-\d{3}-\d{4}\b")
_CURRENCY = frozenset(b"$ |\xe2\x82\xac |\xc2\xa3 |usd |eur |gbp |dollars |euro |euros ".split(b"|"))
_DIGIT_RUN = re.compile(r"[+(\d][\d\s().-]{7,24}")
_COIN = re.compile(r"\b(?:bc1[02-9ac-hj-np-z]{20,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34}|0x[0-9a-fA-F]{40})\b")
SHORTEST_COIN = 23
SHORTEST_TELEPHONE = 7


def amount_tokens(text: str, plain: bytes, words: Collection[bytes]) -> Iterator[Token]:
    """Money, telephone numbers, coin addresses; `plain` is the ASCII of the text. The expressions are slow, so each
    runs only where a cheap look says that it may find something."""
    if not _CURRENCY.isdisjoint(words):
        yield "MONEY", "amounts:" + bucket(len(_MONEY.findall(text)))
        if re.search(r"[$€£]\s?\d{1,3}(?:[.,]\d{3}){2}", text):
            yield "MONEY", "fortune"
    digits = plain.translate(_CLASSES, _BETWEEN_DIGITS)
    if b"0" * SHORTEST_TELEPHONE in digits and any(map(_PHONE.match, _DIGIT_RUN.findall(text)[:50])):
        yield "TELEPHONE", "number"
    if b"a" * SHORTEST_COIN in plain.translate(_ALPHANUMERIC) and _COIN.search(text):
        yield "COIN_ADDRESS", "address"


def all_tokens(groups: Iterable[Iterable[Token]]) -> set[Token]:
    """Every group's tokens once."""
    return {token for group in groups for token in group}
