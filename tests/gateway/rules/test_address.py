"""Mailboxes, paths and domains: what is taken, in which form, and what is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.rules.address import MAX_LOCAL, AddressError, parse_domain, parse_mailbox, parse_path
from gateway.rules.types import Address

LOCAL_64 = "a" * 64
DOMAIN_253 = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("<alice@acme.example>", "alice", "acme.example"),
        ("<Alice@ACME.Example>", "Alice", "acme.example"),
        ("<o'brien+tag=x/y@acme.example>", "o'brien+tag=x/y", "acme.example"),
        ("<!#$%&'*+-/=?^_`{|}~@acme.example>", "!#$%&'*+-/=?^_`{|}~", "acme.example"),
        ("<a.b.c@acme.example>", "a.b.c", "acme.example"),
        ('<"john doe"@acme.example>', '"john doe"', "acme.example"),
        ('<"a@evil.example"@good.example>', '"a@evil.example"', "good.example"),
        ('<"a@evil.example> x"@good.example>', '"a@evil.example> x"', "good.example"),
        (r'<"a\"b\\c"@acme.example>', r'"a\"b\\c"', "acme.example"),
        ("<a@localhost>", "a", "localhost"),
        ("<a@xn--mnchen-3ya.example>", "a", "xn--mnchen-3ya.example"),
        ("<a@[192.0.2.1]>", "a", "[192.0.2.1]"),
        ("<a@[IPv6:2001:DB8:0:0::1]>", "a", "[IPv6:2001:db8::1]"),
        ("<a@3com.example>", "a", "3com.example"),
        (f"<{LOCAL_64}@acme.example>", LOCAL_64, "acme.example"),
    ],
)
def test_paths_in_canonical_form(text: str, local: str, domain: str) -> None:
    assert parse_path(text, smtputf8=False) == Address(local, domain)


def test_the_null_sender() -> None:
    assert parse_path("<>", smtputf8=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "alice@acme.example",
        "< >",
        "< alice@acme.example>",
        "<alice@acme.example >",
        "<alice@acme.example",
        "<<alice@acme.example>>",
        "<alice>",
        "<@acme.example>",
        "<alice@>",
        "<@relay.example:alice@acme.example>",
        "<alice(comment)@acme.example>",
        "<alice@acme.example(comment)>",
        "<alice @acme.example>",
        "<alice@acme .example>",
        "<alice@evil.example@acme.example>",
        "<.alice@acme.example>",
        "<alice.@acme.example>",
        "<al..ice@acme.example>",
        '<"alice@acme.example>',
        '<"alice"x@acme.example>',
        '<x"alice"@acme.example>',
        '<""@acme.example>',
        '<"a\tb"@acme.example>',
        "<alice@acme.example.>",
        "<alice@.acme.example>",
        "<alice@acme..example>",
        "<alice@-acme.example>",
        "<alice@acme-.example>",
        "<alice@ac_me.example>",
        "<alice@192.0.2.1>",
        "<alice@127.1>",
        "<alice@2130706433>",
        "<alice@[192.0.2.256]>",
        "<alice@[192.0.2.01]>",
        "<alice@[2001:db8::1]>",
        "<alice@[IPv6:fe80::1%eth0]>",
        "<alice@[IPv6:192.0.2.1]>",
        "<alice@[tag:x]>",
        "<alice@[192.0.2.1>",
        "<alice\0@acme.example>",
        "<alice\r\nRCPT TO:<x@y.example>@acme.example>",
        "<alice@acme.example\n>",
        "<alice@acme.example\r>",
        "<äöü@acme.example>",
        "<alice@münchen.example>",
        f"<{LOCAL_64}a@acme.example>",
        f"<a@{'a' * 64}.example>",
        f"<a@{DOMAIN_253}e>",
        f"<{LOCAL_64}@{DOMAIN_253[:-60]}>",
    ],
)
def test_paths_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_path(text, smtputf8=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("äöü@acme.example", Address("äöü", "acme.example")),
        ("alice@münchen.example", Address("alice", "xn--mnchen-3ya.example")),
        ("alice@MÜNCHEN.example", Address("alice", "xn--mnchen-3ya.example")),
        ("用户@例子.广告", Address("用户", "xn--fsqu00a.xn--4rr70v")),
        ('"ä ö"@acme.example', Address('"ä ö"', "acme.example")),
        ("alice@straße.example", Address("alice", "xn--strae-oqa.example")),  # not strasse.example
        ("alice@faß.de", Address("alice", "xn--fa-hia.de")),
        ("alice@βόλος.com", Address("alice", "xn--nxasmm1c.com")),  # the final sigma stays one
        ("alice@उदाहरण.example", Address("alice", "xn--p1b6ci4b4b3a.example")),
    ],
)
def test_international_addresses_under_smtputf8(text: str, expected: Address) -> None:
    assert parse_mailbox(text, smtputf8=True) == expected
    with pytest.raises(AddressError):
        parse_mailbox(text, smtputf8=False)


@pytest.mark.parametrize(
    "text",
    [
        "alice@acme。example",  # full-width stop, a dot for some
        "alice@ａcme.example",  # full-width letter
        "alice@\u212aelvin.example",  # Kelvin sign: lower case is an ASCII k
        "alice@ac\u200dme.example",  # joiner
        "alice@ac\u00admé.example",  # soft hyphen
        "alice@e\u0301acme.example",  # not in normal form
        "alice@\u0301acme.example",  # begins with a mark
        "alice@-é.example",
        "alice@xn--é.example",
        "alice@☃.example",
        "alice@é@example",
        "alice@\udce9.example",  # an octet that was not UTF-8
        "\udce9@acme.example",
        "a\u202eb@acme.example",  # right-to-left override
        "a\u00a0b@acme.example",
        "a\u0085b@acme.example",
        "a\u2028b@acme.example",
        "a\ufeffb@acme.example",
        "é é@acme.example",
        "é" * 33 + "@acme.example",  # 66 octets
        "alice@" + "é" * 60 + ".example",
    ],
)
def test_international_addresses_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_mailbox(text, smtputf8=True)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ACME.Example", "acme.example"),
        (DOMAIN_253, DOMAIN_253),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("[127.0.0.1]", "[127.0.0.1]"),
    ],
)
def test_domains(text: str, canonical: str) -> None:
    assert parse_domain(text) == canonical
    assert parse_domain(canonical) == canonical


ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=10)
DOT_LOCAL = st.lists(ATOM, min_size=1, max_size=4).map(".".join)
QUOTED_LOCAL = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=25).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
LABEL = st.from_regex(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
DOMAIN = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(LABEL, max_size=4),
    st.from_regex("[a-z]{2,6}", fullmatch=True),
)
LITERAL = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"[{ip}]"), st.ip_addresses(v=6).map(lambda ip: f"[IPv6:{ip}]")
)


@given(local=st.one_of(DOT_LOCAL, QUOTED_LOCAL), domain=st.one_of(DOMAIN, LITERAL))
def test_what_the_grammar_makes_is_read_back(local: str, domain: str) -> None:
    if len(local) > MAX_LOCAL:
        return
    address = parse_path(f"<{local}@{domain}>", smtputf8=False)
    assert address is not None
    assert address.local == local
    assert address.domain.lower() == domain.lower()
    assert parse_mailbox(str(address)) == address


@given(text=st.text(max_size=300), smtputf8=st.booleans())
@example(text="<\udc80@x.example>", smtputf8=True)
def test_any_text_is_taken_or_refused_and_what_is_taken_is_safe(text: str, smtputf8: bool) -> None:
    for candidate in (text, f"<{text}>", f"<a@{text}>", f"<{text}@acme.example>"):
        try:
            address = parse_path(candidate, smtputf8=smtputf8)
        except AddressError:
            continue
        if address is None:
            assert candidate == "<>"
            continue
        assert address.domain.isascii()
        assert address.domain == address.domain.lower() or address.domain.startswith("[IPv6:")
        assert not any(ord(character) < 32 or ord(character) == 127 for character in str(address))
        assert len(str(address).encode()) <= 254
        assert parse_mailbox(str(address), smtputf8=smtputf8) == address


@given(st.text(st.characters(min_codepoint=0xDF, max_codepoint=0x2FFFF), min_size=1, max_size=6))
@example("ᏣᎳᎩ")  # lower case exists, but is not what is registered
def test_u_labels_agree_with_an_independent_encoder(label: str) -> None:
    idna = pytest.importorskip("idna")
    try:
        mine = parse_domain(f"{label}.example")
        theirs = idna.encode(f"{label.lower()}.example").decode()
    except (AddressError, UnicodeError):
        return  # ours leaves the bidi rule to the registries, theirs knows which letters are historic
    assert mine == theirs


@given(st.ip_addresses())
def test_a_bare_ip_address_is_never_a_domain(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    with pytest.raises(AddressError):
        parse_domain(str(ip))
