"""Secrets at rest: fields that we must read again (encrypted), and SMTP log-ins that we only compare (hashed).

Keys are passed in; only what stands below `cipher_from_settings` looks at Django.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
GROUPS = 7  # of 4 characters: 28 x 4.95 bit = 138 bit


class CryptoError(ValueError):
    """A key or an encrypted field that cannot be used; the text holds neither."""


class FieldCipher:
    """Encrypts with the first key, decrypts with any (Fernet: AES-128-CBC and HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise CryptoError("a field key must be 32 octets in URL-safe base64") from error

    def encrypt(self, text: str) -> str:
        """The encrypted form of a text, as ASCII."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def decrypt(self, token: str) -> str:
        """The text again. Raises CryptoError when no key fits or the token was changed."""
        try:
            return self._fernet.decrypt(token.encode("ascii", "replace")).decode()
        except InvalidToken as error:
            raise CryptoError("an encrypted field fits none of the field keys") from error

    def rotate(self, token: str) -> str:
        """The same text under the first key. Raises CryptoError."""
        try:
            return self._fernet.rotate(token.encode("ascii", "replace")).decode("ascii")
        except InvalidToken as error:
            raise CryptoError("an encrypted field fits none of the field keys") from error


def field_keys(configured: str | Iterable[str], secret_key: str) -> list[bytes]:
    """The Fernet keys, newest first: those of SMG_FIELD_KEYS (comma-separated, or already split), then the one derived
    from SECRET_KEY.

    The derived one is last, so that a gateway that began without SMG_FIELD_KEYS can still read and rotate its fields.
    """
    words = configured.split(",") if isinstance(configured, str) else configured
    named = [word.strip().encode("ascii", "replace") for word in words if word.strip()]
    return [*named, base64.urlsafe_b64encode(derive_key(secret_key, "field encryption"))]


def derive_key(secret_key: str, purpose: str) -> bytes:
    """32 octets of key for one purpose (HKDF-SHA-256, RFC 5869)."""
    if not secret_key:
        raise CryptoError("SECRET_KEY is empty")
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"smg {purpose}".encode())
    return hkdf.derive(secret_key.encode())


def make_secret() -> str:
    """A new SMTP secret: 138 bit, in groups that can be read aloud. Shown once, kept only as its hash."""
    groups = ("".join(secrets.choice(READABLE) for _ in range(4)) for _ in range(GROUPS))
    return "-".join(groups)


def hash_secret(secret: str, key: bytes) -> str:
    """HMAC-SHA-256 as 64 hex digits. Fast on purpose: secrets are long and random, and every log-in costs one."""
    return hmac.new(key, secret.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def secret_matches(secret: str, stored: str, key: bytes) -> bool:
    """Whether a secret belongs to a stored hash; takes the same time for every wrong one, and for an empty hash."""
    return hmac.compare_digest(hash_secret(secret, key).encode(), stored.encode())


@lru_cache(maxsize=1)
def cipher_from_settings() -> FieldCipher:
    """The cipher that Django's settings (SMG_FIELD_KEYS, SECRET_KEY) describe."""
    from django.conf import settings

    return FieldCipher(field_keys(getattr(settings, "SMG_FIELD_KEYS", ""), settings.SECRET_KEY))


@lru_cache(maxsize=1)
def credential_key_from_settings() -> bytes:
    """The key of the SMTP secrets' hashes, derived from SECRET_KEY: changing that one ends every SMTP log-in."""
    from django.conf import settings

    return derive_key(settings.SECRET_KEY, "credential secrets")


def encrypt(text: str) -> str:
    """A field for the database, under the settings' first key."""
    return cipher_from_settings().encrypt(text)


def decrypt(token: str) -> str:
    """A field from the database. Raises CryptoError."""
    return cipher_from_settings().decrypt(token)


def rotate(token: str) -> str:
    """A field from the database under the settings' first key. Raises CryptoError."""
    return cipher_from_settings().rotate(token)
