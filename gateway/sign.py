"""The sign step: a DKIM signature in front of the message, last of all changes.

A domain without an active key leaves unsigned. With one, a message leaves signed or not at all: SignError makes the
caller defer it, and support sees why.
"""

from __future__ import annotations

import base64
import time

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.dkim_signer import GatewayDKIM, KeyUnusable, SigningKey, load_key
from gateway.rules.policy import DkimKeyPolicy

RSA_BITS = 2048
TXT_STRING_BYTES = 255  # RFC 1035 3.3.14


class SignError(Exception):
    """The message could not be signed though a key is active: defer it, never send it unsigned."""


def sign(message: bytes, key: DkimKeyPolicy | None, *, now: float | None = None) -> bytes:
    """The message with its DKIM-Signature in front; unchanged without a key. Raises SignError.

    `now` (seconds since the epoch) is the clock unless a test gives it.
    """
    if key is None:
        return message
    signed_at = int(time.time() if now is None else now)
    try:
        signing_key = load_key(key.private_key_pem)
        field: bytes = GatewayDKIM(message).sign(key.selector, key.domain, signing_key, now=signed_at)
    except (KeyUnusable, dkim.DKIMException) as error:
        raise SignError(f"DKIM key {key.selector}._domainkey.{key.domain}: {error}") from error
    return field + message


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
