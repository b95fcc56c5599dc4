"""Every signature of ours is accepted by verifiers that are not ours, and says what the design promises."""

import re
from datetime import UTC, datetime
from email import message_from_bytes
from unittest.mock import AsyncMock

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import dkim_signer
from gateway import sign as signing
from gateway.rules.headers import Prepared, split
from gateway.rules.policy import DkimKeyPolicy, Snapshot
from gateway.rules.types import Address, Category, Pool, StepFailed
from gateway.sign import SignError
from gateway.work import Mail, Parcel
from tests.gateway.dkim_verifiers import dkimpy_accepts, mail_dkim_results, require_mail_dkim

PEM, RECORD = signing.generate_key()
KEY = DkimKeyPolicy(1, "acme.example", "smg2026", PEM)
MAIL = (
    b"Received: from authenticated-user by smg.example; Tue, 24 Nov 2026 06:30:05 +0000\r\n"
    b"From: Alice <alice@acme.example>\r\nTo: bob@globex.example,\r\n\tcharlie@globex.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=  and   spaces \r\nDate: Tue, 24 Nov 2026 06:30:05 +0000\r\n"
    b"Message-ID: <1@acme.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    b"Hello \t Bob \r\n\r\n  spaces in front\r\nlast line\r\n \r\n\t\r\n"
)
BODIES = {
    "empty": b"",
    "only empty lines": b"\r\n\r\n\r\n",
    "only white lines": b" \r\n\t \r\n",
    "no line end": b"abc",
    "white space at the end": b"abc \t\r\nabc  ",
    "long line": b"x" * 30_000 + b" \t " * 9000 + b"y\r\n",
    "big": (b"Some words,  and\ttabs at the end of each line \r\n" * 5000) + b"\r\n" * 9000,
    "empty lines in between": b"a\r\n" + b"\r\n" * 20_000 + b"b\r\n",
    "base64": b"QUJD" * 19 + b"\r\n",
    "8 bit": "Grüße aus Köln\r\n".encode() * 3,
    "a dot": b".\r\n..\r\n",
}


def sign(message: bytes, key: DkimKeyPolicy | None, **given: float) -> bytes:
    fields, body = split(message)
    return signing.sign(Prepared(fields, memoryview(body), b""), key, **given)


def tags(message: bytes) -> dict[str, str]:
    value = message_from_bytes(message)["DKIM-Signature"]
    pairs = (pair.partition("=") for pair in re.sub(r"\s", "", value).split(";"))
    return {name: text for name, _, text in pairs}


# ---------------------------------------------------------------- accepted by others


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_dkimpy_accepts_every_body(body):
    assert dkimpy_accepts(sign(split_head(MAIL) + body, KEY), RECORD)


def split_head(message: bytes) -> bytes:
    return message[: message.index(b"\r\n\r\n") + 4]


def test_mail_dkim_accepts_every_body():
    require_mail_dkim()
    messages = [
        sign(split_head(MAIL) + body, KEY) for name, body in BODIES.items() if not body.endswith(b" ")
    ]
    messages.append(sign(MAIL, KEY))
    assert mail_dkim_results(messages, RECORD) == ["pass"] * len(messages)


def test_verifiers_do_notice_a_change():
    require_mail_dkim()
    signed = sign(MAIL, KEY)
    changed = [
        signed.replace(b"Hello", b"Hallo"),
        signed.replace(b"and   spaces", b"and no spaces"),
        signed.replace(b"From: Alice", b"From: Eve"),
        signed.replace(b"last line\r\n", b"last line\r\nmore\r\n"),
    ]
    assert not any(re.match("pass", result) for result in mail_dkim_results(changed, RECORD))
    for message in changed:
        try:
            assert not dkimpy_accepts(message, RECORD)
        except dkim.ValidationError:
            continue


@pytest.mark.parametrize(
    "name", ["From", "To", "Cc", "Subject", "Date", "Reply-To", "MIME-Version", "Content-Type"]
)
def test_nobody_can_add_an_oversigned_field(name):
    require_mail_dkim()
    added = sign(MAIL, KEY).replace(b"\r\n\r\n", f"\r\n{name}: eve@evil.example\r\n\r\n".encode(), 1)
    assert not dkimpy_accepts(added, RECORD)
    assert mail_dkim_results([added], RECORD)[0].startswith("fail")


def test_a_list_may_add_its_sender():
    added = b"Sender: list@lists.example\r\n" + sign(MAIL, KEY)
    assert dkimpy_accepts(added, RECORD)


WORDS = st.sampled_from(
    [b"a", b" ", b"  ", b"\t", b"\r\n", b" \r\n", b"\r\n\r\n", b"=", b"\xc3\xbc", b".", b"; b=", b"x" * 50]
)
BODY = st.lists(WORDS, max_size=40).map(b"".join)
VALUES = st.lists(
    st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b"b=", b";", b"\xc3\xbc", b":"]), max_size=12
).map(b"".join)
NAMES = st.sampled_from(
    [b"Subject", b"subject", b"To", b"Cc", b"X-Other", b"List-Id", b"Received", b"DKIM-Signature"]
)


@st.composite
def messages(draw):
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=8))
    fields.insert(draw(st.integers(0, len(fields))), (b"From", b" a@acme.example"))
    raw = b"".join(name + b":x" + value + b"y\r\n" for name, value in fields)
    return raw + b"\r\n" + draw(BODY) + b"\r\n"


@given(messages())
def test_dkimpy_accepts_any_message(message):
    assert dkimpy_accepts(sign(message, KEY), RECORD)


@settings(max_examples=3, deadline=None)
@given(st.lists(messages(), min_size=150, max_size=150))
def test_mail_dkim_accepts_any_message(many):
    require_mail_dkim()
    assert mail_dkim_results([sign(message, KEY) for message in many], RECORD) == ["pass"] * len(many)


# ---------------------------------------------------------------- canonical form


@given(
    st.one_of(
        st.binary(max_size=400),
        BODY,
        st.lists(st.sampled_from([b"\r", b"\n", b" ", b"\t", b"a"]), max_size=40).map(b"".join),
    )
)
def test_the_relaxed_body_equals_dkimpys(body):
    assert b"".join(dkim_signer.relaxed_body(body)) == Relaxed.canonicalize_body(body)


@given(BODY, st.integers(1, 60))
def test_the_relaxed_body_does_not_depend_on_the_chunks(body, size):
    whole = b"".join(dkim_signer.relaxed_body(body))
    before, dkim_signer.CHUNK_BYTES = dkim_signer.CHUNK_BYTES, size
    try:
        assert b"".join(dkim_signer.relaxed_body(body)) == whole
    finally:
        dkim_signer.CHUNK_BYTES = before


@given(BODY)
def test_a_closing_line_end_is_hashed_as_if_it_had_been_there(body):
    whole = b"".join(dkim_signer.relaxed_body(body + b"\r\n"))
    assert b"".join(dkim_signer.relaxed_body(memoryview(body), b"\r\n")) == whole


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_relaxed_form_of_big_bodies_equals_dkimpys(body):
    assert b"".join(dkim_signer.relaxed_body(body)) == Relaxed.canonicalize_body(body)


# ---------------------------------------------------------------- what the signature says


def test_the_tags():
    found = tags(sign(MAIL, KEY, now=1_800_000_000.9))
    assert {name: found[name] for name in ("v", "a", "c", "d", "s", "t", "x")} == {
        "v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "acme.example", "s": "smg2026",
        "t": "1800000000", "x": "1800604800",
    }  # fmt: skip
    assert "l" not in found
    assert "i" not in found
    assert found["h"].split(":") == [
        "from", "from", "to", "to", "cc", "subject", "subject", "date", "date", "reply-to", "mime-version",
        "mime-version", "content-type", "content-type", "message-id",
    ]  # fmt: skip


def test_the_message_itself_is_untouched_and_lines_are_short():
    signed = sign(MAIL, KEY)
    field = signed.removesuffix(MAIL)
    assert len(field) + len(MAIL) == len(signed)
    assert field.startswith(b"DKIM-Signature: v=1;")
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert b"\n" not in field.replace(b"\r\n", b"")


def test_every_field_that_can_be_signed_keeps_short_lines():
    head = b"".join(name.title() + b": x\r\n" for name in dkim_signer.SIGNED)
    signed = sign(head + b"\r\nbody\r\n", KEY)
    assert dkimpy_accepts(signed, RECORD)
    assert set(tags(signed)["h"].split(":")) == {name.decode() for name in dkim_signer.SIGNED}
    assert max(map(len, signed.split(b"\r\n"))) <= 78


def test_two_subjects_are_both_signed():
    signed = sign(b"Subject: second\r\n" + MAIL, KEY)
    assert tags(signed)["h"].split(":").count("subject") == 3
    assert dkimpy_accepts(signed, RECORD)


def test_a_clients_signature_stays_and_ours_is_first():
    signed = sign(b"DKIM-Signature: v=1; d=other.example\r\n" + MAIL, KEY)
    assert len(split(signed).fields) == len(split(MAIL).fields) + 2
    assert dkimpy_accepts(signed, RECORD)


# ---------------------------------------------------------------- keys


def test_without_a_key_nothing_changes():
    assert sign(MAIL, None) == MAIL


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@pytest.mark.parametrize(
    ("key", "message", "why"),
    [
        (DkimKeyPolicy(1, "acme.example", "s", b""), MAIL, "not an unencrypted private key"),
        (DkimKeyPolicy(1, "acme.example", "s", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"), MAIL, "PEM"),
        (
            DkimKeyPolicy(1, "acme.example", "s", pem(ec.generate_private_key(ec.SECP256R1()))),
            MAIL,
            "only RSA",
        ),
        (DkimKeyPolicy(1, "acme.example; x", "s", PEM), MAIL, "host name"),
        (DkimKeyPolicy(1, "acme.example", "s\r\nX: y", PEM), MAIL, "host name"),
        (DkimKeyPolicy(1, "müller.example", "s", PEM), MAIL, "host name"),
        (KEY, b"To: bob@globex.example\r\n\r\n", "no From"),
        (KEY, b"", "no From"),
    ],
)
def test_an_active_key_that_cannot_sign_defers(key, message, why):
    with pytest.raises(SignError, match=why) as error:
        sign(message, key)
    assert "PRIVATE" not in str(error.value)


async def test_a_head_beyond_the_limits_defers():
    message = b"From: a\r\n" + b"X: y\r\n" * 3000 + b"\r\n"
    received_at = datetime(2026, 11, 24, 6, 30, 5, tzinfo=UTC)
    sender = Address("alice", "acme.example")
    mail = Mail(1, "customer", 1, sender, Pool.GOOD, Category.CLEAN, received_at, len(message), message)
    signer = signing.Signer(AsyncMock(return_value=message), "smg.example")
    with pytest.raises(StepFailed) as failed:
        await signer.sign(Snapshot(dkim_keys={"acme.example": KEY}), Parcel(mail, "globex.example", []))
    assert failed.value.reply.code == 451
    assert failed.value.reason == "dkim"
    assert "too many" in str(failed.value.__cause__)
    assert mail.outgoing is None


def test_a_short_rsa_key_defers(monkeypatch):
    monkeypatch.setattr(dkim_signer, "MIN_RSA_BITS", 3072)
    with pytest.raises(SignError, match="2048 bit is too short"):
        sign(MAIL, DkimKeyPolicy(1, "acme.example", "s", pem(rsa.generate_private_key(65537, 2048))))


def test_pkcs1_keys_sign_too():
    old = pem(load_pem_private_key(PEM, None))
    assert old.startswith(b"-----BEGIN RSA PRIVATE KEY")
    assert dkimpy_accepts(sign(MAIL, DkimKeyPolicy(2, "acme.example", "s", old)), RECORD)


def test_a_generated_key_and_its_record():
    assert RECORD.startswith("v=DKIM1; k=rsa; p=MII")
    assert signing.public_record(PEM) == RECORD
    assert load_pem_private_key(PEM, None).key_size == 2048
    pieces = re.findall(r'"([^"]*)"', signing.dns_record(RECORD))
    assert "".join(pieces) == RECORD
    assert [len(piece) <= 255 for piece in pieces] == [True, True]
    with pytest.raises(ValueError, match="expected rsa or ed25519"):
        signing.generate_key("dsa")


def test_ed25519_signs_as_rfc_8463_says(monkeypatch):
    private, record = signing.generate_key("ed25519")
    signed = sign(MAIL, DkimKeyPolicy(3, "acme.example", "ed", private))
    public = load_pem_private_key(private, None).public_key()

    class Verifier:  # dkimpy wants PyNaCl here; the octets it verifies are what matters
        def verify(self, digest: bytes, signature: bytes) -> None:
            public.verify(signature, digest)

    monkeypatch.setattr(dkim, "load_pk_from_dns", lambda *args, **kw: (Verifier(), 256, b"ed25519", False))
    assert dkim.verify(signed)
    assert tags(signed)["a"] == "ed25519-sha256"
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", record)
