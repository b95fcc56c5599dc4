"""The pieces that reading is made of, as tables."""
# ruff: noqa: E501  (tables)

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.spam.charset import decode_text, decode_words
from gateway.spam.html import read_html
from gateway.spam.language import language
from gateway.spam.parse import MAX_DEPTH, MAX_PARTS, read_mail, split_parameters
from gateway.spam.phrases import phrases_in
from gateway.spam.structure import address_of, brand_misused
from gateway.spam.tables import SHIPPED, TablesError, load, shipped, value_of
from gateway.spam.urls import PLATFORMS, is_address, on_platform, organisation, parse_url, shown_host
from gateway.spam.words import MAX_KNOWN, MAX_WORDS, _known, _spelled, word_ids, words_of
from tests.gateway.spam.hostile import multipart, nested
from tests.gateway.spam.mails import HAM, SPAM


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Anna Berger <Anna@B.example>", ("Anna Berger", "anna", "b.example")),
        ('"Berger, \\"Anna\\"" <a@b.example>, c@d.example', ('Berger, "Anna"', "a", "b.example")),
        ("a@b.example (Anna)", ("", "a", "b.example")),
        ('"service@bank.example" <x@y.example>', ("service@bank.example", "x", "y.example")),
        ("undisclosed-recipients:;", ("", "", "")),
        ("((((", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_addresses(value: str, expected: tuple[str, str, str]) -> None:
    assert address_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?b?/A==?=", "Grüßeü"),
        (b"=?utf-8?q?a_b?= c", "a b c"),
        (b"=?x-unknown?q?abc?=", "abc"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"=?utf-8?b?QQ?=", "A"),
        (b"=?broken", "=?broken"),
    ],
)
def test_header_words(value: bytes, expected: str) -> None:
    assert decode_words(value) == expected


@pytest.mark.parametrize(
    ("data", "label", "expected"),
    [
        ("ä".encode(), "utf-8", "ä"),
        (b"\xe4", "utf-8", "\ufffd"),
        (b"\xe4", "", "ä"),
        (b"\xe4", "punycode", "ä"),
        ("ж".encode("koi8-r"), "KOI8-R", "ж"),
    ],
)
def test_charsets(data: bytes, label: str, expected: str) -> None:
    assert decode_text(data, label) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('text/HTML; Charset="utf-8"', ("text/html", {"charset": "utf-8"})),
        ("multipart/mixed;boundary=abc;x", ("multipart/mixed", {"boundary": "abc"})),
        ('a/b; name="never closed', ("a/b", {"name": "never closed"})),
        ("", ("", {})),
    ],
)
def test_parameters(value: str, expected: tuple[str, dict[str, str]]) -> None:
    assert split_parameters(value) == expected


def test_parts_and_depth_are_bounded() -> None:
    many = read_mail(multipart(b"Content-Type: text/plain\r\n\r\nx", 10_000))
    assert len(many.parts) <= MAX_PARTS
    assert many.truncated
    deep = read_mail(nested(500))
    assert len(deep.parts) <= MAX_PARTS
    assert max(part.depth for part in deep.parts) <= MAX_DEPTH


def test_alternative_is_read_whole() -> None:
    mail = read_mail(HAM["de-newsletter"])
    assert [part.content_type for part in mail.parts] == ["multipart/alternative", "text/plain", "text/html"]
    assert "Öffnungszeiten" in (mail.parts[1].text or "")
    assert mail.header("subject") == "Neues aus der Stadtbücherei im Juni"


def test_html_shows_what_a_reader_sees() -> None:
    page = read_html(
        "<!DOCTYPE html><!-- secret --><style>p{}</style><title>T &amp; U</title><script>x</script>"
        '<p>A&szlig;</p><a href="http://x.example/?a=1&amp;b=2"><b>www.y.example</b></a><span style="display:none">h</span>'
    )
    assert page.text.split() == ["Aß", "www.y.exampleh"]
    assert page.title == "T & U"
    assert (page.links[0].target, page.links[0].text) == ("http://x.example/?a=1&b=2", "www.y.example")
    assert page.hidden == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please find the report that you asked for with this message.", "en"),
        ("Bitte finden Sie den Bericht in der Anlage und melden Sie sich.", "de"),
        ("Nous vous prions de trouver le rapport dans la pièce jointe.", "fr"),
        ("Пожалуйста, найдите отчет в приложении к этому письму.", "xx"),
        ("Please see the Anlage, die Rechnung und das Angebot für Sie sind mit der Post.", "de"),
        ("Call me", "en"),
        ("Rechnung anbei", "en"),  # too short to tell
        ("", "en"),
        (" ".join(["Lasku", "tilaus", "kiitos", "terveisin"] * 10), "xx"),
    ],
)
def test_language_gate(text: str, expected: str) -> None:
    assert language(words_of(text), text) == expected


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("please verify your account", {"CREDENTIALS"}),
        ("Ihr Konto wurde gesperrt", {"CREDENTIALS"}),
        ("the account of the trip was nice, later we had to verify the tyres and the oil", set()),
        ("fifteen million united states dollars", {"ADVANCE_FEE"}),
        ("klicken Sie hier", {"URGENCY"}),
        ("work from home", {"INVESTMENT"}),
        ("the minutes of Tuesday", set()),
    ],
)
def test_phrases(text: str, symbols: set[str]) -> None:
    assert {symbol for symbol, _ in phrases_in(words_of(text))} == symbols


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("https://A.example:8443/x?y#z", ("https", "a.example", "8443", "", "/x", "?y")),
        ("http://paypal.com@evil.example/", ("http", "evil.example", "", "paypal.com", "/", "")),
        ("//cdn.example/x", ("", "cdn.example", "", "", "/x", "")),
        ("mailto:a@b.example", None),
        ("javascript:alert(1)", None),
        ("#top", None),
        ("cid:x@y", None),
    ],
)
def test_urls(target: str, expected: tuple[str, ...] | None) -> None:
    url = parse_url(target)
    assert (url and (url.scheme, url.host, url.port, url.user, url.path, url.query)) == expected


def test_hosts() -> None:
    assert organisation("mail.shop.co.uk") == "shop.co.uk"
    assert organisation("a.b.example") == "b.example"
    assert on_platform("x.blob.core.windows.net", PLATFORMS)
    assert not on_platform("windows.net", PLATFORMS)
    assert is_address("185.12.33.7")
    assert is_address("3232235777")
    assert not is_address("a.example")
    link = parse_url("http://evil.example/", "a", "https://www.bank.example/login")
    assert link is not None
    assert shown_host(link) == "www.bank.example"


@pytest.mark.parametrize(
    ("text", "domain", "misused"),
    [
        ("paypal support", "evil.example", True),
        ("paypal support", "mail.paypal.com", False),
        ("paypalooza festival", "evil.example", False),
        ("dhl paket", "versand77.click", True),
        ("anna ups", "b.example", True),
        ("startups weekly", "b.example", False),
        ("your deutsche bank service", "b.example", True),
        ("deutsche bank", "db.com", False),
        ("deutsche post, bank", "b.example", False),
        ("1&1 team", "b.example", True),
    ],
)
def test_brands(text: str, domain: str, misused: bool) -> None:
    assert brand_misused(text, domain) is misused


def test_value_between_knots() -> None:
    knots = ((0.0, 0.0), (1.0, 40.0), (2.0, 100.0))
    assert [value_of(z, knots) for z in (-9, 0, 0.5, 1, 1.5, 2, 9)] == [0, 0, 20, 40, 70, 100, 100]


def test_shipped_tables_are_small_and_know_english_only() -> None:
    assert SHIPPED.stat().st_size < 1024 * 1024
    assert shipped().languages == {"en"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: b"x" + data,
        lambda data: data[:12] + b"}" + data[13:],
    ],
)
def test_broken_table_files_are_named(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "tables.bin"
    path.write_bytes(damage(SHIPPED.read_bytes()))
    with pytest.raises(TablesError, match=r"tables\.bin"):
        load(path)


def test_every_phrase_of_the_spam_samples_is_seen() -> None:
    """The samples were written to show these symbols; losing one means that reading broke somewhere."""
    from gateway.spam.features import extract

    for name, symbols in {
        "en-phishing-mailbox": {
            "CREDENTIALS",
            "BRAND_MISMATCH",
            "LINK_TEXT_DIFFERS",
            "LINK_HOSTING",
            "RECIPIENT_NAMED",
            "URGENCY",
        },
        "de-phishing-bank": {"CREDENTIALS", "BRAND_MISMATCH", "LINK_TO_ADDRESS", "LINK_TEXT_DIFFERS"},
        "de-phishing-parcel": {"PARCEL", "LINK_SHORTENER", "BRAND_MISMATCH"},
        "en-advance-fee": {"ADVANCE_FEE", "REPLY_ELSEWHERE", "FREEMAIL", "MONEY", "GENERIC_GREETING"},
        "en-extortion": {"EXTORTION", "COIN_ADDRESS"},
        "en-pills": {"PILLS", "IMAGE_ONLY", "OFFER"},
    }.items():
        assert symbols - {symbol for symbol, _ in extract(SPAM[name]).structure} <= {"IMAGE_ONLY"}, name


TEXT = st.lists(
    st.sampled_from(
        ["win", "32", "1st", "it's", "_", "'", "$", "€", "ß", " ", "\n", "a" * 26, "\x00", "-", "É"]
    )
)


@given(st.text(max_size=200) | TEXT.map("".join))
def test_words_are_those_of_the_plain_definition(text: str) -> None:
    assert words_of(text) == _spelled(text.lower())[:MAX_WORDS]


def test_known_stretches_are_bounded_and_long_ones_not_kept() -> None:
    words_of(" ".join("z" * 40 + str(number) for number in range(50)))
    assert not [stretch for stretch in _known if len(stretch) > 32]
    for start in range(0, MAX_KNOWN + 1_000, 500):
        words_of(" ".join(f"k{number:x}" for number in range(start, start + 500)))
    assert len(_known) <= MAX_KNOWN


def test_ids_are_checksums_of_words_and_pairs() -> None:
    expected = {crc32(piece) & 0x3FFFF for piece in (b"of ", b"mail ", b"of mail ")}
    assert word_ids(words_of("Of mail")) == expected
    assert word_ids(words_of("Of"), b"s") == {crc32(b"sof ") & 0x3FFFF}
