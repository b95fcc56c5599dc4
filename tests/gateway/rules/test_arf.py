"""Feedback reports as providers send them, as strangers forge them, and as noise."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.arf import KNOWN, MAX_PARTS, NotAReportError, parse

MESSAGE = b"""Received: from mx.provider.example by mailbox.provider.example with LMTP id AbCdEf12345;
\tTue, 3 Mar 2026 10:00:03 +0000
Received: from authenticated-user (origin hidden)
\tby smtp.smg.example with ESMTPSA id 0amq7j7wr0000;
\tTue, 3 Mar 2026 10:00:00 +0000
From: "Alice" <alice@acme.example>
To: undisclosed
Message-ID: <1@acme.example>
Subject: Our offers

Buy!
"""
FEEDBACK = b"""Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <bounce@acme.example>
Original-Rcpt-To: <dora@provider.example>
Source-IP: 192.0.2.1
"""


def report(
    feedback: bytes = FEEDBACK, reported: bytes = MESSAGE, kind: bytes = b"message/rfc822", **how: bytes
) -> bytes:
    """As RFC 5965, appendix B."""
    head = b"From: <fbl@provider.example>\nMessage-ID: <r1@provider.example>\nMIME-Version: 1.0\n"
    content_type = how.get(
        "content_type", b'multipart/report; report-type=feedback-report;\n\tboundary="part-1"'
    )
    encoding = b"Content-Transfer-Encoding: " + how.get("encoding", b"7bit") + b"\n"
    return b"".join(
        [
            head, b"Content-Type: ", content_type, b"\n\nA preamble.\n",
            b"--part-1\nContent-Type: text/plain\n\nComplaint.\n",
            b"--part-1\nContent-Type: message/feedback-report\n\n", feedback,
            b"\n--part-1\nContent-Type: ", kind, b"\n", encoding, b"\n", reported, b"\n--part-1--\nAn epilogue.\n",
        ]
    )  # fmt: skip


def test_a_report_by_the_book() -> None:
    found = parse(report())
    assert (found.kind, found.user_agent, found.reporter) == (
        "abuse",
        "SomeGenerator/1.0",
        "fbl@provider.example",
    )
    assert (found.sender, found.recipient) == ("bounce@acme.example", "dora@provider.example")
    assert found.source_ip == "192.0.2.1"
    assert found.queue_ids == ("0amq7j7wr0000",)
    assert found.message_id == "<1@acme.example>"
    assert found.author == '"Alice" <alice@acme.example>'
    assert found.is_complaint


def test_line_ends_do_not_matter() -> None:
    assert parse(report().replace(b"\n", b"\r\n")) == parse(report())


@pytest.mark.parametrize(
    ("kind", "encoding", "encode"),
    [
        (b"text/rfc822-headers", b"quoted-printable", quopri.encodestring),
        (b"text/rfc822-headers; charset=us-ascii", b"BASE64", base64.encodebytes),
        (b"message/rfc822", b"8bit", bytes),
    ],
)
def test_the_head_alone_and_encoded(kind: bytes, encoding: bytes, encode: object) -> None:
    reported = encode(MESSAGE.partition(b"\n\n")[0] + b"\n")  # type: ignore[operator]
    found = parse(report(reported=reported, kind=kind, encoding=encoding))
    assert found.queue_ids == ("0amq7j7wr0000",)
    assert found.message_id == "<1@acme.example>"


@pytest.mark.parametrize(
    ("said", "kind", "is_complaint"),
    [
        (b"abuse", "abuse", True), (b"FRAUD", "fraud", True), (b"virus", "virus", True), (b"other", "other", True),
        (b"not-spam", "not-spam", False), (b"auth-failure", "auth-failure", False), (b"miscategorized", "other", True),
    ],
)  # fmt: skip
def test_types(said: bytes, kind: str, is_complaint: bool) -> None:
    found = parse(report(FEEDBACK.replace(b"abuse", said)))
    assert (found.kind, found.is_complaint) == (kind, is_complaint)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "multipart/report"),
        (b"From: a@b.example\n\nHello\n", "multipart/report"),
        (
            report(content_type=b"multipart/report; report-type=delivery-status; boundary=part-1"),
            "report-type",
        ),
        (report(content_type=b"multipart/report; report-type=feedback-report"), "boundary"),
        (
            report(content_type=b"multipart/report; report-type=feedback-report; boundary=other"),
            "feedback-report",
        ),
        (report(b"User-Agent: x\nVersion: 1\n"), "Feedback-Type"),
        (report(FEEDBACK + b"Feedback-Type: fraud\n"), "Feedback-Type"),
        (b"Content-Type: a\nContent-Type: b\n\n", "multipart/report"),
    ],
)
def test_what_is_no_report(raw: bytes, why: str) -> None:
    with pytest.raises(NotAReportError, match=why):
        parse(raw)


def test_a_report_that_is_cut_off_still_tells() -> None:
    raw = report()
    assert parse(raw[: raw.index(b"Subject: Our")]).queue_ids == ("0amq7j7wr0000",)


def test_empty_parts_and_too_many_of_them() -> None:
    empty = report().replace(b"A preamble.\n", b"\n--part-1\n--part-1\n")
    assert parse(empty).kind == "abuse"
    many = report().replace(b"A preamble.\n", b"\n--part-1\n" * (MAX_PARTS + 1))
    with pytest.raises(NotAReportError):
        parse(many)


def test_the_same_report_has_the_same_digest_whoever_carried_it() -> None:
    one = parse(report())
    assert (
        parse(b"Received: by mx.smg.example;\n\tTue, 3 Mar 2026 11:00:00 +0000\n" + report()).digest
        == one.digest
    )
    assert parse(report().replace(b"<r1@", b"<r2@")).digest != one.digest


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        (("acme.example",), True),
        (("ACME.example", "other.example"), True),
        (("globex.example",), False),
        (("",), False),
    ],
)
def test_whose_mail_it_is_about(domains: tuple[str, ...], expected: bool) -> None:
    assert parse(report()).is_about(*domains) is expected


def test_hostile_values_are_cut_and_cleaned() -> None:
    hostile = FEEDBACK.replace(b"SomeGenerator/1.0", b"\x00\x1b[31m\xe2\x80\xae" + b"x" * 5000)
    hostile = hostile.replace(b"192.0.2.1", b"fe80::1%eth0")
    found = parse(report(hostile))
    assert len(found.user_agent) <= 500
    assert not set(found.user_agent) & {"\x00", "\x1b", "\u202e"}
    assert found.source_ip == ""


@given(st.binary(max_size=300), st.integers(0, 2000), st.binary(max_size=20))
def test_damaged_reports_never_break_it(noise: bytes, at: int, instead: bytes) -> None:
    raw = report()
    for damaged in (
        noise,
        raw[:at] + noise + raw[at + len(instead) :],
        report(noise),
        report(reported=noise),
    ):
        try:
            found = parse(damaged)
        except NotAReportError:
            continue
        assert found.kind in KNOWN
        assert all("\0" not in str(value) for value in (found.author, found.message_id, found.user_agent))


@pytest.mark.parametrize(
    "hostile", [b';a="', b'; boundary="' + b"\\x" * 500, b";" * 9000, b"; report-type=" * 3000]
)
def test_hostile_parameters_end_soon(hostile: bytes) -> None:
    with pytest.raises(NotAReportError):
        parse(b"Content-Type: multipart/report" + hostile * 1000 + b"\n\n" + b"\n--" * 100_000)
