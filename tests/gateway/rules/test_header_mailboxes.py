"""Who wrote this? From, Sender and Resent-From headers, plain ones and those made to be read in two ways."""

from __future__ import annotations

import email.policy
import email.utils
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.rules.address import AddressError
from gateway.rules.header_mailboxes import MAX_MAILBOXES, parse_header_mailboxes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"alice@acme.example", ["alice@acme.example"]),
        (b" alice@acme.example\r\n", ["alice@acme.example"]),
        (b"<alice@acme.example>", ["alice@acme.example"]),
        (b"Alice <alice@ACME.example>", ["alice@acme.example"]),
        (b"Alice B. Clark <alice@acme.example>", ["alice@acme.example"]),
        (b'"Clark, Alice" <alice@acme.example>', ["alice@acme.example"]),
        (b'"a \\" <evil@globex.example>" <alice@acme.example>', ["alice@acme.example"]),
        (b'"bob@globex.example" <alice@acme.example>', ["alice@acme.example"]),
        (b"=?utf-8?q?bob=40globex.example?= <alice@acme.example>", ["alice@acme.example"]),
        (b"=?utf-8?b?Ym9iQGdsb2JleC5leGFtcGxl?= <alice@acme.example>", ["alice@acme.example"]),
        (b"Alice\r\n <alice@acme.example>", ["alice@acme.example"]),
        (b"Alice <\r\n\talice@acme.example>", ["alice@acme.example"]),
        (b"alice@acme.example (Alice)", ["alice@acme.example"]),
        (b"(work (main)) alice@acme.example", ["alice@acme.example"]),
        (b"Alice (the \\) first) <alice@acme.example> (x)", ["alice@acme.example"]),
        (b"Alice <alice@acme.example>, carol@acme.example", ["alice@acme.example", "carol@acme.example"]),
        (b'"john doe"@acme.example', ['"john doe"@acme.example']),
        (b"ACME [Support] <alice@acme.example>", ["alice@acme.example"]),
        ("Jörg <jörg@münchen.example>".encode(), ["jörg@xn--mnchen-3ya.example"]),
        (b"J\xf6rg <joerg@acme.example>", ["joerg@acme.example"]),  # Latin-1, as old programs send it
        (b"alice@[192.0.2.1]", ["alice@[192.0.2.1]"]),
        (b"alice@[IPv6:2001:db8::1]", ["alice@[IPv6:2001:db8::1]"]),
        (b"o'hara@acme.example", ["o'hara@acme.example"]),
    ],
)
def test_plain_authors(value: bytes, expected: list[str]) -> None:
    assert [str(address) for address in parse_header_mailboxes(value)] == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"   ",
        b"<>",
        b"Alice",
        b"alice@",
        b"@acme.example",
        b",",
        b"alice@acme.example,",
        b", alice@acme.example",
        b"alice@acme.example, , bob@globex.example",
        # groups
        b"undisclosed-recipients:;",
        b"Team: alice@acme.example, bob@globex.example;",
        b"alice@acme.example: bob@globex.example;",
        b"Support: ACME <alice@acme.example>",
        b"alice@acme.example; bob@globex.example",
        # two addresses in one place
        b"bob@globex.example <alice@acme.example>",
        b"<bob@globex.example> <alice@acme.example>",
        b"<bob@globex.example> alice@acme.example",
        b"<alice@acme.example> bob@globex.example",
        b"alice@acme.example bob@globex.example",
        b"<<alice@acme.example>>",
        b"<alice@acme.example><bob@globex.example>",
        b"<bob@globex.example <alice@acme.example>>",
        b"alice@acme.example@globex.example",
        b"<alice@acme.example",
        b"alice@acme.example>",
        b">alice@acme.example<",
        b"<alice@acme.example, bob@globex.example>",
        # routes
        b"<@globex.example:alice@acme.example>",
        b"<@globex.example,@x.example:alice@acme.example>",
        # comments where an address is
        b"alice(c)@acme.example",
        b"alice@(c)acme.example",
        b"alice@acme(c).example",
        b"<alice@acme.example(c)>",
        b"<(c)alice@acme.example>",
        b"alice@acme.example (bob@globex.example)",
        b"alice@acme.example (<bob>)",
        b"(x (bob@globex.example)) alice@acme.example",
        b"alice@acme.example (not closed",
        b"alice@acme.example (not closed\\)",
        b"alice@acme.example not opened)",
        b"((((too deep)))) alice@acme.example",
        # quotation tricks
        b'"bob@globex.example"@acme.example',
        b'"<bob@globex.example>"@acme.example',
        b'"alice <alice@acme.example>',
        b'alice"x"@acme.example',
        b'"alice"."clark"@acme.example',
        b"\\alice@acme.example",
        b"alice\\@globex.example@acme.example",
        # encoded words in the address
        b"=?utf-8?q?bob=40globex.example=3e?=@acme.example",
        b"<=?x?q?bob=40globex.example=3e=00?=foo@acme.example>",
        b"alice@=?utf-8?q?acme.example?=",
        # white space and folding inside
        b"alice @acme.example",
        b"alice@ acme.example",
        b"<alice@acme. example>",
        b"alice\r\n @acme.example",
        # controls
        b"alice@acme.example\0",
        b"alice@acme.example\nBcc: x@y.example",
        b"Alice\n <alice@acme.example>",
        b"Alice\r <alice@acme.example>",
        b"alice@acme.example\r\nFrom: bob@globex.example",
        b"\x1b$B <alice@acme.example>",
        "Alice\u2028<alice@acme.example>".encode(),
        "Alice\u0085<alice@acme.example>".encode(),
        # octets that are not UTF-8, where it matters
        b"j\xf6rg@acme.example",
        b"joerg@m\xfcnchen.example",
        "alice@acme\uff0eexample".encode(),
        "alice\uff20globex.example@acme.example\u202e".encode(),
        # sizes
        b"A" * 9000 + b" <alice@acme.example>",
        b", ".join([b"a@acme.example"] * (MAX_MAILBOXES + 1)),
    ],
)
def test_authors_open_to_interpretation(value: bytes) -> None:
    with pytest.raises(AddressError):
        parse_header_mailboxes(value)


PIECES = st.lists(
    st.sampled_from(
        [b"a", b"bob", b"acme.example", b"globex.example", b"a@acme.example", b"@", b"<", b">", b'"', b"\\", b"(", b")",
         b",", b";", b":", b"[", b"]", b" ", b"\r\n ", b"\t", b".", b"=?utf-8?q?=40?=", b"\xc3\xa9", b"\xff", b"\0",
         b"\n"]
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


@given(PIECES)
@example(b'"a@acme.example" <a@acme.example>')
@example(b"a@acme.example (")
def test_what_is_taken_python_reads_the_same(value: bytes) -> None:
    """Another parser, written by others, must name the same authors for whatever ours takes."""
    try:
        mine = parse_header_mailboxes(value)
    except AddressError:
        return
    assert mine
    text = value.decode("utf-8", "surrogateescape").replace("\r\n", "")
    if not text.isascii() or "[" in text:
        return  # RFC 6532 and literals are beyond the standard library's parser
    theirs = email.policy.default.header_factory("From", text).addresses
    assert [address.addr_spec for address in theirs] == [str(address) for address in mine]
    assert [pair[1] for pair in email.utils.getaddresses([text])] == [str(address) for address in mine]


@given(st.binary(max_size=400))
def test_any_octets_are_taken_or_refused(value: bytes) -> None:
    try:
        addresses = parse_header_mailboxes(value)
    except AddressError:
        return
    assert addresses
    assert all("\r" not in str(address) and "\n" not in str(address) for address in addresses)


@pytest.mark.parametrize(
    "value",
    [b"(" * 8000, b'"' + b"\\" * 8000, b"<" * 8000, b"a@b," * 2000, b"(a)" * 2600, b"a:" * 4000, b'"a"' * 2600,
     b"[" * 8000],
    ids=["comments", "escapes", "angles", "commas", "comment list", "groups", "quoted", "literals"],
)  # fmt: skip
def test_hostile_values_cost_little(value: bytes) -> None:
    started = time.process_time()
    with pytest.raises(AddressError):
        parse_header_mailboxes(value)
    assert time.process_time() - started < 0.25
