"""Reports as independent parsers read them."""

import re
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ndr import MAX_FULL_BYTES, MAX_HEAD_BYTES, ReportError, build_report
from gateway.rules.dsn import ACTIONS
from gateway.rules.types import Reply
from tests.gateway.bounce_parsers import (
    bounce_parser,
    flufl,
    part_texts,
    require_bounce_parser,
    status_fields,
)
from tests.gateway.ndr_reports import (
    AT,
    ORIGINAL,
    REPLIES,
    assert_well_formed,
    recipient,
    report,
    text_of,
)

# ---------------------------------------------------------------- every kind, by every parser

STATUSES = {"failed": "5.1.1", "delayed": "4.4.1", "delivered": "2.1.5", "relayed": "2.0.0"}


ORCPT = "rfc822;Bob@globex.example"  # what the sender wrote; parsers prefer it to the final address


def of_kind(kind: str) -> bytes:
    until = AT + timedelta(days=5) if kind == "delayed" else None
    return build_report(
        kind, report(recipient(kind, reply=REPLIES[kind], orcpt=ORCPT, will_retry_until=until))
    )


@pytest.mark.parametrize("kind", ACTIONS)
def test_email_reads_recipient_action_and_status(kind):
    raw = of_kind(kind)
    assert_well_formed(raw)
    message, about = status_fields(raw)
    assert message == {
        "Reporting-MTA": "dns; smg.example",
        "Arrival-Date": "Tue, 24 Nov 2026 06:30:05 +0000",
        "X-SMG-Queue-ID": "4711",
    }
    assert about == {
        "Original-Recipient": "rfc822;Bob@globex.example",
        "Final-Recipient": "rfc822; bob@globex.example",
        "Action": kind,
        "Status": STATUSES[kind],
        "Remote-MTA": "dns; mx.globex.example",
        "Diagnostic-Code": f"smtp; {REPLIES[kind]}",
        "Last-Attempt-Date": "Tue, 24 Nov 2026 07:30:05 +0000",
        "Final-Log-ID": "4711",
        "X-SMG-Gateway": "mta01 (good)",
    } | ({"Will-Retry-Until": "Sun, 29 Nov 2026 06:30:05 +0000"} if kind == "delayed" else {})


@pytest.mark.parametrize(
    ("kind", "temporary", "permanent"),
    [
        ("failed", set(), {"Bob@globex.example"}),
        ("delayed", {"Bob@globex.example"}, set()),
        ("delivered", set(), set()),
        ("relayed", set(), set()),
    ],
)
def test_flufl_bounce_agrees(kind, temporary, permanent):
    assert flufl(of_kind(kind)) == (temporary, permanent)


@pytest.mark.parametrize("kind", ACTIONS)
def test_bounce_parser_agrees(kind):
    require_bounce_parser()
    found = bounce_parser(of_kind(kind))
    assert found["is_bounce"] == int(kind == "failed")
    if kind == "failed":
        assert found["message_id"].strip() == "<1@acme.example>"
        assert found["reports"] == [
            {"email": "Bob@globex.example", "action": "failed", "status": "5.1.1", "reason": "user_unknown"}
        ]


def test_one_report_lists_all_recipients():
    full = Reply(552, "5.2.2", "Mailbox full")
    raw = build_report(
        "failed",
        report(
            recipient(),
            recipient(address="carol@globex.example"),
            recipient(address="dan@x.example", reply=full),
        ),
    )
    assert [group["Status"] for group in status_fields(raw)[1:]] == ["5.1.1", "5.1.1", "5.2.2"]
    assert flufl(raw)[1] == {"bob@globex.example", "carol@globex.example", "dan@x.example"}
    text = text_of(raw)
    assert text.count("The recipient does not exist") == 1  # the same cause is told once
    assert "bob@globex.example carol@globex.example What happened" in text


def test_replies_that_differ_by_the_address_only_are_one_cause():
    names = ("bob", "Carol", "dora")
    replies = {name: Reply(550, "5.1.1", f"<{name.lower()}@globex.example>: User unknown") for name in names}
    items = [recipient(address=f"{name}@globex.example", reply=reply) for name, reply in replies.items()]
    text = text_of(build_report("failed", report(*items)))
    assert "bob@globex.example Carol@globex.example dora@globex.example What happened" in text
    assert text.count("said:") == 1


def test_a_thousand_recipients_stay_readable():
    many = [recipient(address=f"user{number}@globex.example") for number in range(1000)]
    raw = build_report("failed", report(*many))
    assert len(flufl(raw)[1]) == 1000
    assert "and 950 more" in text_of(raw)
    assert text_of(raw).count("@globex.example") == 50


# ---------------------------------------------------------------- frame


def test_the_header_says_that_a_machine_wrote_it():
    message = message_from_bytes(of_kind("failed"))
    assert message["From"] == "Mail Delivery System <mailer-daemon@smg.example>"
    assert message["To"] == "alice@acme.example"
    assert message["Subject"] == "Undelivered: Invoice 4711"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<1@acme.example>"
    assert message["Date"] == "Tue, 24 Nov 2026 08:30:05 +0000"
    assert re.fullmatch(r"<[0-9a-f]{32}@smg\.example>", message["Message-ID"])
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"


def test_the_same_input_gives_the_same_octets_and_another_seed_does_not():
    assert of_kind("failed") == of_kind("failed")
    other = message_from_bytes(build_report("failed", report(seed="2")))
    assert other["Message-ID"] != message_from_bytes(of_kind("failed"))["Message-ID"]


def test_a_guessed_boundary_ends_nothing():
    boundary = message_from_bytes(of_kind("failed")).get_boundary()
    original = ORIGINAL.replace(b"X-Long:", b"X-Long: --" + boundary.encode() + b"--")
    raw = build_report("failed", report(original=original))
    assert message_from_bytes(raw).get_boundary() != boundary
    assert [kind for kind, _ in part_texts(raw)] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("bounced", report()),
        ("delayed", report(recipient("failed"))),
        ("failed", replace(report(), recipients=())),
        ("failed", report(sender="")),
    ],
)
def test_what_cannot_be_reported(kind, given):
    with pytest.raises(ReportError):
        build_report(kind, given)


# ---------------------------------------------------------------- what comes back of the original


def third_part(raw: bytes) -> tuple[str, str]:
    return part_texts(raw)[2] if len(part_texts(raw)) > 2 else ("", "")


@pytest.mark.parametrize("ret", ["", "HDRS"])
def test_only_the_head_comes_back(ret):
    kind, text = third_part(build_report("failed", report(ret=ret)))
    assert kind == "text/rfc822-headers"
    assert text == ORIGINAL.partition(b"\r\n\r\n")[0].decode() + "\r\n"


def test_ret_full_brings_a_small_message_back():
    raw = build_report("failed", report(ret="FULL"))
    (inner,) = message_from_bytes(raw).get_payload()[2].get_payload()
    assert inner["Message-ID"] == "<1@acme.example>"
    assert "The secret body" in inner.get_payload()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("failed", {"ret": "FULL", "original": ORIGINAL + b"x" * 76 + b"\r\n" * MAX_FULL_BYTES}),
        ("failed", {"ret": "FULL", "quote_body": False}),
        ("delayed", {"ret": "FULL"}),
        ("delivered", {"ret": "FULL"}),
    ],
)
def test_ret_full_is_not_for_big_dangerous_or_successful_mail(kind, given):
    raw = build_report(kind, report(recipient(kind, reply=REPLIES[kind]), **given))
    assert third_part(raw)[0] == "text/rfc822-headers"
    assert b"secret body" not in raw


def test_a_big_head_is_cut_between_fields():
    original = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 900) for number in range(100)) + b"\r\n"
    text = third_part(build_report("failed", report(original=original)))[1]
    assert len(text) <= MAX_HEAD_BYTES
    assert original.startswith(text.encode())
    assert text.endswith("\r\n")


@pytest.mark.parametrize(
    "original",
    [
        b"Subject: Gr\xfc\xdfe roh\r\n\r\n",
        b"Subject: " + "Grüße".encode() + b"\r\n\r\n",
        b"X-Long: " + b"a" * 5000 + b"\r\n\r\n",
        b"no header at all\r\n",
        b"",
        b"X: y\r\n" * 3000 + b"\r\n",
    ],
)
def test_odd_originals_still_make_a_7_bit_report(original):
    raw = build_report("failed", report(original=original))
    assert_well_formed(raw)
    assert flufl(raw)[1] == {"bob@globex.example"}
    head = third_part(raw)[1]
    assert len(original) > 6000 or original.startswith(head.encode("utf-8", "surrogateescape")[:8])


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("action", "reply", "status"),
    [
        ("failed", Reply(550, "", "Sender Domain must resolve"), "5.0.0"),
        ("failed", Reply(550, "4.2.1", "strange"), "5.2.1"),
        ("failed", Reply(450, "4.4.7", "gave up"), "4.4.7"),
        ("failed", Reply(550, "5.7.606", "banned"), "5.7.606"),
        ("failed", Reply(550, "5.1", "strange"), "5.0.0"),
        ("failed", Reply(550, "2.0.0", "strange"), "5.0.0"),
        ("delayed", Reply(550, "5.7.1", "held"), "4.0.0"),
        ("delayed", Reply(421, "", "busy"), "4.0.0"),
        ("delivered", Reply(250, "", "Ok"), "2.0.0"),
    ],
)
def test_status(action, reply, status):
    raw = build_report(action, report(recipient(action, reply=reply)))
    assert status_fields(raw)[1]["Status"] == status


def test_envelope_id_comes_back_decoded():
    assert (
        status_fields(build_report("failed", report(envid="QQ 314+159")))[0]["Original-Envelope-Id"]
        == "QQ 314+159"
    )


@pytest.mark.parametrize(
    ("orcpt", "field"),
    [
        ("rfc822;Bob+tag@globex.example", "rfc822;Bob+tag@globex.example"),
        ("utf-8;bü@globex.example", "utf-8;b\\x{FC}@globex.example"),
        ("", None),
        ("no type", None),
        ("bad type;x", None),
    ],
)
def test_original_recipient(orcpt, field):
    raw = build_report("failed", report(recipient(orcpt=orcpt)))
    assert status_fields(raw)[1].get("Original-Recipient") == field


def test_our_own_decision_is_not_said_by_a_next_hop():
    fields = status_fields(build_report("failed", report(recipient(remote_mta=""))))[1]
    assert fields["Diagnostic-Code"] == "x-smg; 550 5.1.1 User unknown"
    assert "Remote-MTA" not in fields


INJECTION = "x\r\nBcc: eve@evil.example\r\n\r\n--=_1\r\nAction: delivered"


@pytest.mark.parametrize(
    "given",
    [
        report(recipient(reply=Reply(550, "5.1.1", INJECTION))),
        report(recipient(orcpt="rfc822;" + INJECTION)),
        report(recipient(address=INJECTION)),
        report(recipient(remote_mta=INJECTION)),
        report(recipient(gateway=INJECTION)),
        report(envid=INJECTION),
        report(sender=INJECTION),
        report(original=b"Subject: =?utf-8?q?x=0D=0ABcc:_eve=40evil.example?=\r\n\r\n"),
        report(original=b"Subject: x\r\nMessage-ID: <a>\r\n Bcc: eve@evil.example\r\n\r\n"),
    ],
)
def test_nobody_can_inject_a_line(given):
    raw = build_report("failed", given)
    assert_well_formed(raw)
    message = message_from_bytes(raw)
    assert "Bcc" not in message
    groups = status_fields(raw)
    assert len(groups) == 2
    assert [group.get("Action") for group in groups] == [None, "failed"]
    assert all("Bcc" not in group for group in groups)


@pytest.mark.parametrize("long", ["a" * 5000, "word " * 1000, "ü" * 5000])
def test_long_words_stay_within_the_line_limit(long):
    for item in (recipient(reply=Reply(550, "5.1.1", long)), recipient(address=long[:300])):
        assert_well_formed(
            build_report("failed", report(item, original=b"Subject: " + long.encode() + b"\r\n\r\n"))
        )


# ---------------------------------------------------------------- SMTPUTF8

UTF8 = {"smtputf8": True, "original": "From: älice@acme.example\r\nSubject: Grüße\r\n\r\nHallo\r\n".encode()}


def test_an_international_recipient_is_reported_in_utf_8_to_a_sender_who_asked_for_it():
    raw = build_report(
        "failed", report(recipient(address="bü@globex.example", orcpt="utf-8;bü@globex.example"), **UTF8)
    )
    assert_well_formed(raw, eight_bit=True)
    message = message_from_bytes(raw)
    assert message.get_param("report-type") == "global-delivery-status"
    assert [part.get_content_type() for part in message.get_payload()] == [
        "text/plain", "message/global-delivery-status", "message/global-headers",
    ]  # fmt: skip
    assert "Final-Recipient: utf-8; bü@globex.example\r\n".encode() in raw
    assert "Original-Recipient: utf-8;bü@globex.example\r\n".encode() in raw
    assert "Subject: Grüße\r\n".encode() in raw


def test_an_international_recipient_is_reported_in_ascii_otherwise():
    raw = build_report("failed", report(recipient(address="bü@globex.example")))
    assert_well_formed(raw)
    assert status_fields(raw)[1]["Final-Recipient"] == "utf-8; b\\x{FC}@globex.example"


def test_ret_full_of_an_international_message():
    raw = build_report("failed", report(recipient(address="bü@globex.example"), ret="FULL", **UTF8))
    assert (
        b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + UTF8["original"] in raw
    )


# ---------------------------------------------------------------- strangers' bytes

TEXT = st.text(max_size=60)


@given(TEXT, TEXT, TEXT, TEXT, st.binary(max_size=120), st.booleans(), st.sampled_from(["de", "en"]))
def test_any_text_makes_a_well_formed_report(address, orcpt, words, envid, head, smtputf8, language):
    original = b"Subject: " + head.translate(None, b"\r\n\0") + b"\r\n\r\nbody\r\n"
    item = recipient(address=address, orcpt=f"rfc822;{orcpt}", reply=Reply(550, "5.1.1", words))
    given_report = report(item, envid=envid, original=original, smtputf8=smtputf8, language=language)
    raw = build_report("failed", given_report)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert given_report.is_international or raw.isascii()
    assert raw.count(b"\r\nAction: failed\r\n") == 1
    assert len(message_from_bytes(raw).get_payload()) == 3
