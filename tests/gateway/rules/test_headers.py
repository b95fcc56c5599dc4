"""The head read and prepared as bytes: splitting, the hidden origin, what is added, and hostile input."""

import time
from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import headers
from gateway.rules.origin import ORIGIN_FIELDS, ORIGIN_PREFIXES
from gateway.rules.types import Address, Envelope

AT = datetime(2026, 11, 24, 6, 30, 5, tzinfo=UTC)
CLIENT_IP = "10.20.30.4"
MAIL = b"From: Alice <alice@acme.example>\r\nTo: bob@globex.example\r\nSubject: Hi\r\n\r\nHello\r\n"


def envelope(body: bytes = MAIL, **given: object) -> Envelope:
    values: dict[str, object] = {
        "id": 4711, "customer_id": 1, "credential_id": 1, "sender": Address("alice", "acme.example"),
        "recipients": [], "received_at": AT, "client_ip": CLIENT_IP, "helo": "web01.inner.acme.example",
    }  # fmt: skip
    return Envelope(body=body, **(values | given))  # type: ignore[arg-type]


def prepared_of(message: bytes, **given: object) -> headers.Prepared:
    return headers.prepare(
        message, envelope(message, **given), our_hostname="smg.example", message_id_domain="acme.example"
    )


def prepare(message: bytes, **given: object) -> bytes:
    return prepared_of(message, **given).octets()


def head_of(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[0] + b"\r\n"


# ---------------------------------------------------------------- splitting


@pytest.mark.parametrize(
    ("message", "names", "body"),
    [
        (b"A: 1\r\nB: 2\r\n\r\nbody\r\n", [b"a", b"b"], b"body\r\n"),
        (b"A: 1\r\n 2\r\n\t3\r\nB: 4\r\n\r\n", [b"a", b"b"], b""),
        (b"A: 1\r\n", [b"a"], b""),
        (b"\r\nA: 1\r\n\r\nx", [], b"A: 1\r\n\r\nx"),
        (b"", [], b""),
        (b"no header\r\nFrom: x\r\n\r\n", [], b"no header\r\nFrom: x\r\n\r\n"),
        (b"A: 1\r\nno header\r\nFrom: x\r\n\r\n", [b"a"], b"no header\r\nFrom: x\r\n\r\n"),
        (b" folded nothing\r\nA: 1\r\n\r\n", [], b" folded nothing\r\nA: 1\r\n\r\n"),
        (b"From alice Tue Nov 24\r\nA: 1\r\n\r\nx", [b"a"], b"x"),
        (b">From alice Tue Nov 24\r\nA: 1\r\n\r\nx", [b"a"], b"x"),
        (b"F\xc3\xbcr: 1\r\nA: 1\r\n\r\nx", [], b"F\xc3\xbcr: 1\r\nA: 1\r\n\r\nx"),
        (b"From : 1\r\nSENDER\t:2\r\n\r\n", [b"from", b"sender"], b""),
        (b": 1\r\n\r\n", [], b": 1\r\n\r\n"),
    ],
)
def test_split(message, names, body):
    found = headers.split(message)
    assert ([field.name for field in found.fields], found.body) == (names, body)


@pytest.mark.parametrize(
    ("written", "raw"),
    [
        (b"From : a\r\n", b"From: a\r\n"),
        (b"Subject: a\r\n \r\n b\r\n", b"Subject: a\r\n b\r\n"),
        (b"Subject: a\r\n \t \r\n", b"Subject: a\r\n"),
        (b"Subject:\x0ba\x0cb\r\n", b"Subject: a b\r\n"),
        (b"Subject:a\r\n\tb\r\n", b"Subject:a\r\n\tb\r\n"),
    ],
)
def test_what_readers_disagree_about_is_made_plain(written, raw):
    (field,) = headers.split(written + b"\r\n").fields
    assert field.raw == raw
    assert field.raw == raw[: len(field.name)] + b":" + field.value + b"\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: 1\r\n" % number for number in range(headers.MAX_FIELDS + 1)),
        b"Subject: " + b"a" * headers.MAX_HEAD_BYTES + b"\r\n",
        b"Subject: " + b"a\r\n " * (headers.MAX_HEAD_BYTES // 4) + b"\r\n",
        b"".join(b"Subject: %s\r\n" % (b"a" * 990) for _ in range(600)),
    ],
)
@pytest.mark.parametrize("ending", [b"\r\nbody\r\n", b""])
def test_a_head_beyond_the_limits_is_an_error(head, ending):
    with pytest.raises(headers.HeadError):
        headers.split(head + ending)
    assert headers.subject(head + ending) == ""


def test_a_big_body_without_empty_line_is_no_head():
    message = b"A: 1\r\n" + b"just a line of text\r\n" * 50_000
    assert len(headers.split(message).fields) == 1


def test_hostile_heads_cost_linear_time():
    started = time.process_time()
    for line in (b"a" * 400_000, b"a:" + b" \r\n" * 100_000, b" \t" * 200_000, b"=?a?q?" * 60_000):
        message = b"Subject: " + line + b"\r\n\r\n"
        for call in (headers.subject, prepare, headers.author_headers, headers.count_received):
            try:
                call(message)
            except headers.HeadError:
                continue
    assert time.process_time() - started < 5


# ---------------------------------------------------------------- reading


def test_author_headers_finds_every_one_in_any_spelling():
    message = (
        b"FROM: a@acme.example\r\nfrom :\r\n b@acme.example\r\nResent-Sender: c@acme.example\r\n"
        b"X-From: no\r\n\r\nFrom: in the body\r\n"
    )
    assert headers.author_headers(message) == {
        "from": [b"a@acme.example", b"b@acme.example"],
        "sender": [],
        "resent-from": [],
        "resent-sender": [b"c@acme.example"],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=\r\n =?utf-8?q?_aus_K=C3=B6ln?=", "Grüße aus Köln"),
        (b"Rechnung =?iso-8859-1?Q?f=FCr?= Mai", "Rechnung für Mai"),
        ("Grüße roh".encode(), "Grüße roh"),
        (b"latin \xfc raw", "latin � raw"),
        (b"=?no-such-charset?q?a=FFb?=", "a�b"),
        (b"=?hex?q?4142?=", "4142"),
        (b"=?undefined?q?abc?=", "abc"),
        (b"=?utf-8?b?####?=", ""),
        (b"=?utf-8?b?abc?=", None),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a Bcc: x"),
        (b"=?utf-8?q?=E2=80=AEtxt.exe?=", "txt.exe"),
        (b"a\x00b\x1b[31m", "a b [31m"),
        (b"=?utf-8?q?a?= \\ud800 b", "a b"),
        (b"=?utf-7?q?+2AA-?=", None),
        (b"x" * 1000, "x" * headers.SUBJECT_MAX_CHARS),
        (b"", ""),
    ],
)
def test_subject(value, text):
    shown = headers.subject(b"Subject: " + value + b"\r\n\r\n")
    assert shown == text if text is not None else isinstance(shown, str)


def test_subject_is_empty_without_one():
    assert headers.subject(b"From: a\r\n\r\nSubject: body\r\n") == ""


# ---------------------------------------------------------------- preparing


def test_prepare_keeps_every_octet_of_an_ordinary_mail():
    message = b"Message-ID: <1@acme.example>\r\nDate: Tue, 24 Nov 2026 06:30:00 +0000\r\n" + MAIL
    assert prepare(message) == (
        b"Received: from authenticated-user (origin hidden)\r\n"
        b"\tby smg.example with ESMTPSA id 00000000004k7;\r\n"
        b"\tTue, 24 Nov 2026 06:30:05 +0000\r\n" + message
    )


def test_prepare_adds_date_and_message_id_once():
    prepared = prepare(MAIL)
    parsed = message_from_bytes(prepared)
    assert parsedate_to_datetime(parsed["Date"]) == AT
    assert parsed["Message-ID"] == "<20261124063005.00000000004k7@acme.example>"
    again = message_from_bytes(prepare(prepared))
    assert (len(again.get_all("Date")), len(again.get_all("Message-ID"))) == (1, 1)


def test_prepare_gives_the_same_octets_at_every_attempt():
    assert prepare(MAIL) == prepare(MAIL)


def test_mail_of_our_own_came_from_nobody():
    assert prepare(MAIL, customer_id=None).startswith(
        b"Received: by smg.example id 00000000004k7;\r\n\tTue, 24 Nov 2026 06:30:05 +0000\r\n"
    )


def test_an_empty_date_field_is_left_to_its_author():
    assert prepare(b"Date:\r\n" + MAIL).count(b"Date:") == 1


def spellings() -> list[bytes]:
    names = list(ORIGIN_FIELDS) + [prefix + "anything" for prefix in ORIGIN_PREFIXES]
    return [name.title().encode() for name in names]


@pytest.mark.parametrize("name", spellings())
def test_origin_fields_go_with_their_folded_lines(name):
    field = name + b": from web01.inner.acme.example\r\n\t([10.20.30.4]) by mail.inner\r\n"
    prepared = prepare(b"To: bob@globex.example\r\n" + field + MAIL)
    assert b"inner" not in prepared
    assert prepared.endswith(b"\r\nTo: bob@globex.example\r\n" + MAIL.replace(b"\r\n\r\n", added() + b"\r\n"))


def added() -> bytes:
    return b"\r\nDate: Tue, 24 Nov 2026 06:30:05 +0000\r\nMessage-ID: <20261124063005.00000000004k7@acme.example>\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"X-Mailer: Thing 1.0\r\n",
        b"User-Agent: Thing 1.0\r\n",
        b"DKIM-Signature: v=1; d=acme.example\r\n",
        b"List-Unsubscribe: <https://acme.example/u>\r\n",
        b"Delivered-To: alice@acme.example\r\n",
        b"X-Version: 110.20.30.4\r\n",
        b"X-Version: 10.20.30.41\r\n",
        b"X-Version: 10.20.30.4.5\r\n",
        b"Subject: our server 10.20.30.4 is down\r\n",
        b"X-Spamassassin-Free: yes\r\n",
    ],
)
def test_other_fields_stay(field):
    assert field in prepare(field + MAIL)


@pytest.mark.parametrize(
    ("field", "client_ip"),
    [
        (b"X-Strange: sent by 10.20.30.4\r\n", CLIENT_IP),
        (b"X-Strange: [10.20.30.4]:4711\r\n", CLIENT_IP),
        (b"X-Strange: 10.20.30.4.\r\n", CLIENT_IP),
        (b"X-Strange: a\r\n\t2001:db8::1 b\r\n", "2001:db8::1"),
    ],
)
def test_unknown_x_fields_that_hold_the_clients_address_go(field, client_ip):
    assert b"X-Strange" not in prepare(field + MAIL, client_ip=client_ip)


def test_message_ids_that_hold_an_address_are_hidden_and_threads_stay_whole():
    first = prepare(b"Message-ID: <1.2@[10.20.30.4]>\r\n" + MAIL)
    answer = prepare(
        b"Message-ID: <2@web01.inner>\r\nIn-Reply-To: <1.2@[10.20.30.4]>\r\n"
        b"References: <0@other.example>\r\n <1.2@[10.20.30.4]>\r\n" + MAIL
    )
    hidden = message_from_bytes(first)["Message-ID"]
    assert hidden.endswith("@acme.example>")
    assert b"10.20.30.4" not in first + answer
    parsed = message_from_bytes(answer)
    assert parsed["In-Reply-To"] == hidden
    assert parsed["References"].split() == ["<0@other.example>", hidden]
    assert parsed["Message-ID"] == "<2@web01.inner>"


@pytest.mark.parametrize(
    "message_id",
    [b"<a@mail.acme.example>", b"<10.20.30.41@acme.example>", b"<a@b@c>", b"no angle", b""],
)
def test_other_message_ids_stay(message_id):
    assert b"Message-ID: " + message_id + b"\r\n" in prepare(b"Message-ID: " + message_id + b"\r\n" + MAIL)


def test_hops_are_counted_through_hidden_ones():
    message = b"Received: from a by b; x\r\n" * 3 + MAIL
    assert headers.count_received(message) == 3
    looped = b"Received: from smg by outside; x\r\n" + prepare(message)
    assert headers.count_received(looped) == 5  # 3 hidden, ours, the outside one
    assert headers.count_received(prepare(looped)) == 6
    assert b"hops" not in prepare(MAIL)


def test_a_line_that_is_no_header_gets_the_empty_line_before_it():
    prepared = prepare(b"From: alice@acme.example\r\nno header\r\nFrom: eve@evil.example\r\n\r\nx\r\n")
    head, _, body = prepared.partition(b"\r\n\r\n")
    assert head.count(b"From:") == 1
    assert body == b"no header\r\nFrom: eve@evil.example\r\n\r\nx\r\n"


def test_a_message_without_body_stays_one():
    prepared = prepare(b"From: alice@acme.example\r\n")
    assert prepared.endswith(b"\r\n\r\n")
    assert headers.split(prepared).body == b""


@pytest.mark.parametrize(
    ("body", "end"), [(b"x", b"x\r\n"), (b"x  ", b"x  \r\n"), (b"x\r\n", b"x\r\n"), (b"", b"\r\n")]
)
def test_a_last_line_that_was_left_open_is_closed_before_signing(body, end):
    assert prepare(MAIL.replace(b"Hello\r\n", body)).endswith(b"\r\n" + end)


# ---------------------------------------------------------------- strangers' bytes

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"From: a@b", b"From : a", b"Subject: =?utf-8?q?=", b"Received: x", b" folded", b"\t", b"", b"x",
                b"Message-ID: <a@[10.20.30.4]>", b"X-A: 10.20.30.4", b"Received: y (origin hidden, hops 7)",
            ]
        ),
        st.binary(max_size=30).map(lambda line: line.translate(None, b"\r\n\0")),
    ),
    max_size=12,
)  # fmt: skip


@given(LINES)
def test_prepare_takes_any_lines_and_leaves_a_clean_head(lines):
    message = b"".join(line + b"\r\n" for line in lines)
    prepared = prepare(message)
    found = headers.split(prepared)
    assert found.fields == prepared_of(message).fields  # what is signed is what a reader sees
    assert b"".join(field.raw for field in found.fields) + b"\r\n" + found.body == prepared
    assert found.body.removesuffix(b"\r\n") == headers.split(message).body.removesuffix(b"\r\n")
    assert headers.find(found.fields, b"received")[0].startswith(b"from authenticated-user")
    assert len(headers.find(found.fields, b"received")) == 1
    assert headers.count_received(prepared) == headers.count_received(message) + 1
    assert headers.author_headers(prepared) == headers.author_headers(message)
    assert headers.subject(prepared) == headers.subject(message)
    assert b"\n" not in prepared.replace(b"\r\n", b"")


@given(st.binary(max_size=300))
def test_reading_never_fails_on_any_octets(message):
    headers.count_received(message)
    assert set(headers.author_headers(message)) == set(headers.AUTHOR_NAMES)
    shown = headers.subject(b"Subject: " + message)
    assert len(shown.encode()) <= 4 * headers.SUBJECT_MAX_CHARS
    assert shown.isprintable() or "\ufffd" in shown


def test_the_id_that_is_stored_is_the_one_that_was_sent() -> None:
    """The queue step writes down what the sign step will add (gateway/queue.py)."""
    parsed = message_from_bytes(prepare(MAIL))
    assert parsed["Message-ID"] == headers.own_message_id(envelope(), "acme.example")
