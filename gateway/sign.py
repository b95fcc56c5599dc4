"""The sign step: the message as it may leave, with a DKIM signature in front, last of all changes.

A domain without an active key leaves unsigned. With one, a message leaves signed or not at all: SignError defers it
(`Signer` makes a StepFailed of it), and support sees why.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.dkim_signer import (
    KeyUnusable,
    SigningKey,
    Unsignable,
    load_key,
    relaxed_body_hash,
    signature_field,
)
from gateway.rules import headers
from gateway.rules.policy import DkimKeyPolicy, Snapshot
from gateway.rules.route_types import DeliveryJob, JobRecipient
from gateway.rules.types import Envelope, Reply, Stage, StepFailed
from gateway.work import Mail, Parcel

log = logging.getLogger(__name__)

RSA_BITS = 2048
THREAD_BYTES = 512 * 1024  # bigger ones would hold the event loop for milliseconds
TXT_STRING_BYTES = 255  # RFC 1035 3.3.14


class SignError(Exception):
    """The message could not be signed though a key is active: defer it, never send it unsigned."""


def sign(message: headers.Prepared, key: DkimKeyPolicy | None, *, now: float | None = None) -> bytes:
    """The message with its DKIM-Signature in front; as it is without a key. Raises SignError.

    `now` (seconds since the epoch) is the clock unless a test gives it.
    """
    if key is None:
        return message.octets()
    signed_at = int(time.time() if now is None else now)
    try:
        signing_key = load_key(key.private_key_pem)
        body_hash = relaxed_body_hash(message.body, message.end)
        field = signature_field(
            message.fields, key.selector, key.domain, signing_key, body_hash, now=signed_at
        )
    except (KeyUnusable, Unsignable) as error:
        raise SignError(f"DKIM key {key.selector}._domainkey.{key.domain}: {error}") from error
    return message.octets(field)


class Signer:
    """Prepares and signs each message once, whatever number of parcels and attempts it has.

    `load_body` fetches the body of a message that was picked up from the database.
    """

    def __init__(self, load_body: Callable[[Mail], Awaitable[bytes]], hostname: str) -> None:
        self._load_body = load_body
        self._hostname = hostname

    async def sign(self, snapshot: Snapshot, parcel: Parcel) -> DeliveryJob:
        """The parcel's transaction, ready to be sent. Raises StepFailed when it must not leave as it is."""
        mail = parcel.mail
        if mail.outgoing is None:
            body = await self._load_body(mail)
            key = snapshot.dkim_key_for(_signing_domain(mail) or self._hostname)
            try:
                mail.outgoing = await self._make(mail, body, key)
            except (SignError, headers.HeadError) as error:
                log.exception(
                    "message could not be signed", extra={"message_id": mail.id, "error": str(error)}
                )
                raise StepFailed(
                    Reply(451, "4.7.5", "Message could not be signed"), "dkim", Stage.POLICY
                ) from error
            mail.signed_by = f"{key.selector}._domainkey.{key.domain}" if key else ""
            if len(body) > THREAD_BYTES:
                mail.body = None  # a second copy of much; a report, the only one to need it, loads it again
        return _job(parcel, mail.outgoing)

    async def _make(self, mail: Mail, body: bytes, key: DkimKeyPolicy | None) -> bytes:
        if len(body) > THREAD_BYTES:
            return await asyncio.to_thread(self._prepare_and_sign, mail, body, key)
        return self._prepare_and_sign(mail, body, key)

    def _prepare_and_sign(self, mail: Mail, body: bytes, key: DkimKeyPolicy | None) -> bytes:
        domain = mail.sender_domain or self._hostname
        prepared = headers.prepare(
            body, _envelope(mail, body), our_hostname=self._hostname, message_id_domain=domain
        )
        return sign(prepared, key)


def _signing_domain(mail: Mail) -> str:
    """The author's domain, so that the signature is aligned (RFC 7489 3.1.1); it was proven to be the customer's."""
    return mail.header_from.rpartition("@")[2] or mail.sender_domain


def _envelope(mail: Mail, body: bytes) -> Envelope:
    """What `prepare` must know of the envelope."""
    return Envelope(
        id=mail.id,
        customer_id=mail.customer_id if mail.kind == "customer" else None,  # reports come from us
        credential_id=None,
        sender=mail.sender,
        recipients=[],
        body=body,
        received_at=mail.received_at,
        client_ip=mail.client_ip,
        helo=mail.helo,
        smtputf8=mail.smtputf8,
    )


def _job(parcel: Parcel, outgoing: bytes) -> DeliveryJob:
    mail = parcel.mail
    return DeliveryJob(
        message_id=mail.id,
        sender=mail.sender,
        recipients=tuple(
            JobRecipient(recipient.id, recipient.address, recipient.notify, recipient.orcpt)
            for recipient in parcel.recipients
        ),
        body=outgoing,
        eight_bit=mail.eight_bit,
        smtputf8=mail.smtputf8,
        require_tls=mail.require_tls,
        ret=mail.ret,
        envid=mail.envid,
    )


def generate_key(algorithm: str = "rsa") -> tuple[bytes, str]:
    """A new key: (private PEM in PKCS#8, value of the public TXT record). `algorithm`: rsa (2048 bit) or ed25519."""
    key: SigningKey
    if algorithm == "rsa":
        key = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    elif algorithm == "ed25519":
        key = Ed25519PrivateKey.generate()
    else:
        raise ValueError(f"unknown algorithm {algorithm!r}: expected rsa or ed25519")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, _record_value(key.public_key())


def public_record(private_pem: bytes) -> str:
    """The value of the TXT record that belongs to a private key. Raises KeyUnusable."""
    return _record_value(load_key(private_pem).public_key())


def _record_value(public: RSAPublicKey | Ed25519PublicKey) -> str:
    """RFC 6376 3.6.1, RFC 8463 4."""
    if isinstance(public, RSAPublicKey):
        kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"


def dns_record(public: str) -> str:
    """The value as zone file text: quoted strings of at most 255 octets, for display and for copying."""
    pieces = (public[start : start + TXT_STRING_BYTES] for start in range(0, len(public), TXT_STRING_BYTES))
    return " ".join(f'"{piece}"' for piece in pieces)
