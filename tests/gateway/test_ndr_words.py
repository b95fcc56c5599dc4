"""Reports as people read them."""

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest

from gateway.ndr import build_report
from gateway.rules.dsn import in_our_words
from gateway.rules.types import Category, Outcome, Pool, Reply, Stage, State
from tests.gateway.bounce_parsers import (
    status_fields,
)
from tests.gateway.ndr_reports import (
    AT,
    REPLIES,
    recipient,
    report,
    text_of,
)


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            [
                "Your message of 2026-11-24, 06:30 UTC could not be delivered",
                "What happened: The recipient does not exist.",
                "Who must act: You, the sender.",
                "1. Check the address for typing errors.",
                "mx.globex.example said: 550 5.1.1 User unknown",
                "Left by gateway: mta01 (good)",
            ],
        ),
        (
            "de",
            [
                "Ihre Nachricht vom 24.11.2026, 06:30 UTC konnte den unten genannten",
                "Was geschehen ist: Den Empfänger gibt es nicht.",
                "Wer handeln muss: Sie, der Absender.",
                "1. Prüfen Sie die Adresse auf Tippfehler.",
                "mx.globex.example antwortete: 550 5.1.1 User unknown",
                "Gesendet über Gateway: mta01 (good)",
            ],
        ),
    ],
)
def test_what_people_read(language, lines):
    raw = build_report("failed", report(language=language))
    text = text_of(raw)
    assert [line for line in lines if line not in text] == []
    assert "spam" not in text.lower()
    assert message_from_bytes(raw)["Content-Language"] == language


def test_an_unknown_language_is_english():
    assert "What happened" in text_of(build_report("failed", report(language="fr")))


@pytest.mark.parametrize(
    ("kind", "language", "subject"),
    [
        ("failed", "de", "Unzustellbar: Grüße"),
        ("delayed", "de", "Verzögert: Grüße"),
        ("delivered", "en", "Delivered: Grüße"),
        ("relayed", "en", "Handed on: Grüße"),
    ],
)
def test_the_subject_names_the_kind_and_the_original(kind, language, subject):
    given = report(
        recipient(kind, reply=REPLIES[kind]), language=language, original="Subject: Grüße\r\n\r\n".encode()
    )
    message = message_from_bytes(build_report(kind, given))
    assert str(make_header(decode_header(message["Subject"]))) == subject


def test_a_subject_that_looks_encoded_is_not_decoded_twice():
    original = b"Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3FBcc=3F=3D?=\r\n\r\n"
    message = message_from_bytes(build_report("failed", report(original=original)))
    assert str(make_header(decode_header(message["Subject"]))) == "Undelivered: =?utf-8?q?Bcc?="


def test_bad_routed_mail_says_that_it_was_taken_for_spam_and_why():
    given = report(
        recipient(gateway="mta03", gateway_pool=Pool.BAD),
        category=Category.SPAM, score=91.6, symbols=("GTUBE", "NO_SUCH_SYMBOL"),
    )  # fmt: skip
    text = text_of(build_report("failed", given))
    assert "classified as spam (score 92 of 100), so it took the way for suspected spam (mta03)" in text
    assert "- GTUBE: Contains the standard test text" in text
    assert "NO_SUCH_SYMBOL" in text
    german = text_of(build_report("failed", replace(given, language="de")))
    assert "als Spam eingestuft (92 von 100 Punkten)" in german


def test_a_delay_is_a_warning_and_says_until_when():
    item = recipient(
        "delayed", reply=Reply(451, "4.7.1", "Greylisted"), will_retry_until=AT + timedelta(days=5)
    )
    text = text_of(build_report("delayed", report(item)))
    assert "Who must act: Nobody." in text
    assert "We go on trying until 2026-11-29, 06:30 UTC." in text
    assert "Please do not send it again" in text


def test_a_final_answer_to_a_passing_cause_does_not_promise_another_attempt():
    text = text_of(
        build_report("failed", report(recipient(reply=Reply(554, "5.7.1", "listed at zen.spamhaus.org"))))
    )
    assert "Spamhaus" in text
    assert "We try this message no more." in text
    assert "we try again" not in text.lower()


def test_an_expired_message_explains_the_last_answer():
    reply = Reply(
        550, "5.4.7", "Message could not be delivered within its lifetime. Last answer: 451 4.7.1 Greylisted"
    )
    text = text_of(build_report("failed", report(recipient(reply=reply, remote_mta="", reason="greylisted"))))
    assert "We tried for days and gave up." in text
    assert "Its last answer meant: The recipient's server wants a second attempt." in text


def test_a_virus_report_names_it_and_returns_no_body():
    reply = Reply(554, "5.7.1", "Message contains a virus (Eicar-Test)")
    given = report(
        recipient(reply=reply, remote_mta="", gateway="", gateway_pool=None), quote_body=False, ret="FULL"
    )
    raw = build_report("failed", given)
    assert "Our gateway decided: 554 5.7.1 Message contains a virus (Eicar-Test)" in text_of(raw)
    assert b"secret body" not in raw


@pytest.mark.parametrize(
    ("text", "is_own"),
    [
        ("Timed out while waiting for the greeting", True),
        ("Message could not be delivered within its lifetime. Last answer: 451 x", True),
        ("mx.globex.example does not offer STARTTLS", True),
        ("The certificate of mx.globex.example is not trusted: expired", True),
        ("User unknown", False),
        ("", False),
    ],
)
def test_our_words_about_a_server_are_not_put_into_its_mouth(text, is_own):
    raw = build_report("failed", report(recipient(reply=Reply(550, "5.4.7", text))))
    fields = status_fields(raw)[1]
    assert fields["Remote-MTA"] == "dns; mx.globex.example"
    assert fields["Diagnostic-Code"].startswith("x-smg;" if is_own else "smtp;")
    assert ("Our gateway decided:" in text_of(raw)) is is_own
    assert ("mx.globex.example said:" in text_of(raw)) is not is_own


@pytest.mark.parametrize("stage", ["dns", "connect", "tls", "policy"])
def test_what_happens_before_the_dialogue_is_in_our_words(stage):
    outcome = Outcome(1, State.BOUNCED, Reply(550, "5.4.7", "anything"), Stage(stage), AT)
    assert in_our_words(outcome.reply, outcome.stage)
    assert not in_our_words(outcome.reply, Stage.RCPT)


def test_a_score_that_is_not_known_is_not_invented():
    text = text_of(build_report("failed", report(category=Category.SUSPECT)))
    assert "This message was classified as suspected spam, so it took the way" in text


def test_where_to_ask():
    text = text_of(
        build_report(
            "failed", report(message_url="https://portal.example/m/1/", support_email="help@smg.example")
        )
    )
    assert "https://portal.example/m/1/" in text
    assert "Write to help@smg.example and give the message's number 4711." in text
