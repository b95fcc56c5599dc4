"""MAIL and RCPT with their parameters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.smtp_grammar import GrammarError, Mail, Rcpt, decode_xtext, parse_mail, parse_rcpt
from gateway.rules.types import Address

ALICE = Address("alice", "acme.example")
BOB = Address("bob", "globex.example")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM:<alice@acme.example>", {}),
        ("from:<alice@acme.example>", {}),
        ("FROM: <alice@acme.example>", {}),
        ("FROM:<alice@acme.example> ", {}),
        ("FROM:<alice@acme.example> SIZE=1000", {"size_bytes": 1000}),
        ("FROM:<alice@acme.example> size=0", {"size_bytes": 0}),
        ("FROM:<alice@acme.example> BODY=8bitmime", {"eight_bit": True}),
        ("FROM:<alice@acme.example> BODY=7BIT", {}),
        ("FROM:<alice@acme.example> SMTPUTF8", {"smtputf8": True}),
        ("FROM:<alice@acme.example> AUTH=<>", {}),
        ("FROM:<alice@acme.example> AUTH=alice+40acme.example", {}),
        ("FROM:<alice@acme.example> RET=full", {"ret": "FULL"}),
        ("FROM:<alice@acme.example> RET=HDRS ENVID=aB+2Bc", {"ret": "HDRS", "envid": "aB+c"}),
        ("FROM:<alice@acme.example>  RET=HDRS   SIZE=1", {"ret": "HDRS", "size_bytes": 1}),
        ("FROM:<alice@acme.example> REQUIRETLS", {"require_tls": True}),
    ],
)
def test_mail(argument: str, expected: dict[str, Any]) -> None:
    assert parse_mail(argument, under_tls=True) == Mail(ALICE, **expected)


def test_mail_from_nobody() -> None:
    assert parse_mail("FROM:<>") == Mail(None)
    assert parse_mail("FROM:<> SIZE=5 BODY=8BITMIME") == Mail(None, size_bytes=5, eight_bit=True)


def test_a_quoted_local_part_may_hold_what_ends_a_path() -> None:
    assert parse_mail('FROM:<"a> SIZE=1 <b"@acme.example> SIZE=7') == Mail(
        Address('"a> SIZE=1 <b"', "acme.example"), size_bytes=7
    )


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("TO:<alice@acme.example>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM <alice@acme.example>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("FROM:alice@acme.example", "501 5.1.7 Bad sender address syntax: address must be in angle brackets"),
        ("FROM:", "501 5.1.7 Bad sender address syntax: address must be in angle brackets"),
        (
            "FROM:<alice@acme.example>SIZE=1",
            "501 5.1.7 Bad sender address syntax: address must be in angle brackets",
        ),
        ("FROM:<a b@acme.example>", "501 5.1.7 Bad sender address syntax: address must be in angle brackets"),
        ("FROM:<alice@acme..example>", "501 5.1.7 Bad sender address: domain is not a valid host name"),
        ("FROM:<alice>", "501 5.1.7 Bad sender address: address has no domain"),
        ("FROM:<@x.example:alice@acme.example>", "501 5.1.7 Bad sender address: local part is not valid"),
        (
            "FROM:<älice@acme.example>",
            "553 5.6.7 Bad sender address: address is not ASCII and SMTPUTF8 was not requested",
        ),
        ("FROM:<alice@acme.example> SIZE=1 SIZE=2", "501 5.5.4 SIZE is given twice"),
        ("FROM:<alice@acme.example> SIZE=1 size=1", "501 5.5.4 SIZE is given twice"),
        ("FROM:<alice@acme.example> SIZE", "501 5.5.4 Bad value of SIZE"),
        ("FROM:<alice@acme.example> SIZE=-1", "501 5.5.4 Bad value of SIZE"),
        ("FROM:<alice@acme.example> SIZE=1e3", "501 5.5.4 Bad value of SIZE"),
        ("FROM:<alice@acme.example> SIZE=١", "501 5.5.4 Bad value of SIZE"),
        ("FROM:<alice@acme.example> SIZE=" + "1" * 21, "501 5.5.4 Bad value of SIZE"),
        ("FROM:<alice@acme.example> BODY=BINARYMIME", "501 5.5.4 Bad value of BODY"),
        ("FROM:<alice@acme.example> BODY", "501 5.5.4 Bad value of BODY"),
        ("FROM:<alice@acme.example> SMTPUTF8=1", "501 5.5.4 Bad value of SMTPUTF8"),
        ("FROM:<alice@acme.example> RET=ALL", "501 5.5.4 Bad value of RET"),
        ("FROM:<alice@acme.example> ENVID=", "501 5.5.4 Parameter syntax: NAME or NAME=value"),
        ("FROM:<alice@acme.example> ENVID", "501 5.5.4 Bad value of ENVID"),
        ("FROM:<alice@acme.example> ENVID=a+0D+0Ab", "501 5.5.4 Bad value of ENVID"),
        ("FROM:<alice@acme.example> ENVID=a+2b", "501 5.5.4 Bad value of ENVID"),
        ("FROM:<alice@acme.example> ENVID=a=b", "501 5.5.4 Bad value of ENVID"),
        ("FROM:<alice@acme.example> ENVID=" + "a" * 101, "501 5.5.4 Bad value of ENVID"),
        ("FROM:<alice@acme.example> AUTH", "501 5.5.4 Bad value of AUTH"),
        ("FROM:<alice@acme.example> NOTIFY=NEVER", "555 5.5.4 NOTIFY is not supported"),
        ("FROM:<alice@acme.example> XFOO=1", "555 5.5.4 XFOO is not supported"),
        ("FROM:<alice@acme.example> REQUIRETLS", "555 5.5.4 REQUIRETLS is not supported"),
        ("FROM:<alice@acme.example> =1", "501 5.5.4 Parameter syntax: NAME or NAME=value"),
        ("FROM:<alice@acme.example> A\tB", "555 5.5.4 A is not supported"),
    ],
)
def test_mail_refused(argument: str, reply: str) -> None:
    with pytest.raises(GrammarError) as refused:
        parse_mail(argument)
    assert str(refused.value.reply) == reply


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("TO:<bob@globex.example>", {}),
        ("to: <bob@globex.example>", {}),
        ("TO:<bob@globex.example> NOTIFY=NEVER", {"notify": frozenset({"NEVER"})}),
        ("TO:<bob@globex.example> NOTIFY=success,Failure", {"notify": frozenset({"SUCCESS", "FAILURE"})}),
        (
            "TO:<bob@globex.example> ORCPT=rfc822;Bob+2Bx@Globex.Example",
            {"orcpt": "rfc822;Bob+x@Globex.Example"},
        ),
        (
            "TO:<bob@globex.example> ORCPT=utf-8;b\\x{F6}b@globex.example",
            {"orcpt": "utf-8;b\\x{F6}b@globex.example"},
        ),
    ],
)
def test_rcpt(argument: str, expected: dict[str, Any]) -> None:
    assert parse_rcpt(argument) == Rcpt(BOB, **expected)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4 Syntax: RCPT TO:<address>"),
        ("FROM:<bob@globex.example>", "501 5.5.4 Syntax: RCPT TO:<address>"),
        ("TO:<>", "501 5.1.3 Bad recipient address: it is empty"),
        ("TO:<postmaster>", "501 5.1.3 Bad recipient address: address has no domain"),
        (
            "TO:bob@globex.example",
            "501 5.1.3 Bad recipient address syntax: address must be in angle brackets",
        ),
        ("TO:<bob@globex.example> <eve@globex.example>", "501 5.5.4 Parameter syntax: NAME or NAME=value"),
        ("TO:<bob@globex.example> NOTIFY=NEVER,FAILURE", "501 5.5.4 Bad value of NOTIFY"),
        ("TO:<bob@globex.example> NOTIFY=FAILURE,FAILURE", "501 5.5.4 Bad value of NOTIFY"),
        ("TO:<bob@globex.example> NOTIFY=FAILURE,", "501 5.5.4 Bad value of NOTIFY"),
        ("TO:<bob@globex.example> NOTIFY", "501 5.5.4 Bad value of NOTIFY"),
        ("TO:<bob@globex.example> NOTIFY=NEVER NOTIFY=SUCCESS", "501 5.5.4 NOTIFY is given twice"),
        ("TO:<bob@globex.example> ORCPT=bob@globex.example", "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> ORCPT=rfc822;", "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> ORCPT=rfc822;a+0Ab", "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> ORCPT=rfc/822;a", "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> ORCPT=rfc822;" + "a" * 500, "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> ORCPT=utf-8;böb@globex.example", "501 5.5.4 Bad value of ORCPT"),
        ("TO:<bob@globex.example> SIZE=1", "555 5.5.4 SIZE is not supported"),
    ],
)
def test_rcpt_refused(argument: str, reply: str) -> None:
    with pytest.raises(GrammarError) as refused:
        parse_rcpt(argument)
    assert str(refused.value.reply) == reply


def test_what_was_said_with_helo_has_no_parameters() -> None:
    assert parse_mail("FROM:<alice@acme.example>", extended=False) == Mail(ALICE)
    with pytest.raises(GrammarError) as refused:
        parse_mail("FROM:<alice@acme.example> SIZE=1", extended=False)
    assert str(refused.value.reply) == "555 5.5.4 Parameters are allowed after EHLO only"


def test_international_addresses_need_smtputf8() -> None:
    mail = parse_mail("FROM:<älice@münchen.example> SMTPUTF8")
    assert mail.sender == Address("älice", "xn--mnchen-3ya.example")
    argument = "TO:<böb@globex.example> ORCPT=utf-8;böb@globex.example"
    assert parse_rcpt(argument, smtputf8=True).orcpt == "utf-8;böb@globex.example"


PARAMETER = st.one_of(
    st.sampled_from(
        "SIZE=5 BODY=7BIT SMTPUTF8 AUTH=<> RET=FULL ENVID=x REQUIRETLS NOTIFY=NEVER ORCPT=rfc822;a@b".split()
    ),
    st.text(max_size=20),
)


@given(
    path=st.one_of(st.just("<alice@acme.example>"), st.just("<>"), st.text(max_size=40)),
    parameters=st.lists(PARAMETER, max_size=5),
    space=st.sampled_from(["", " ", "\t"]),
    extended=st.booleans(),
)
def test_any_argument_is_understood_or_gets_a_5xx(
    path: str, parameters: list[str], space: str, extended: bool
) -> None:
    rest = f"{space}{path} {' '.join(parameters)}"
    for parse, keyword in ((parse_mail, "FROM:"), (parse_rcpt, "TO:")):
        reply = None
        try:
            parse(keyword + rest, extended=extended)
        except GrammarError as error:
            reply = error.reply
        assert reply is None or (500 <= reply.code <= 555 and reply.enhanced.startswith("5."))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_xtext_is_decoded(text: str) -> None:
    encoded = "".join(f"+{ord(char):02X}" if char in "+= " else char for char in text)
    assert decode_xtext(encoded) == text
