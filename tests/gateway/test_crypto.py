"""Fields that are read again, and secrets that are only compared."""

import re

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from gateway import crypto
from gateway.crypto import CryptoError, FieldCipher

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
KEY = crypto.derive_key("server key", "credential secrets")


@pytest.mark.parametrize("text", ["", "hunter2", "Grüße\n😀", "x" * 5000])
def test_a_field_comes_back(text):
    cipher = FieldCipher([NEW])
    token = cipher.encrypt(text)
    assert token.isascii()
    assert cipher.decrypt(token) == text
    assert text == "" or text not in token


def test_two_encryptions_differ():
    cipher = FieldCipher([NEW])
    assert cipher.encrypt("same") != cipher.encrypt("same")


def test_rotation_moves_a_field_to_the_first_key():
    token = FieldCipher([OLD]).encrypt("secret")
    rotated = FieldCipher([NEW, OLD]).rotate(token)
    assert FieldCipher([NEW]).decrypt(rotated) == "secret"
    with pytest.raises(CryptoError):
        FieldCipher([OLD]).decrypt(rotated)


@pytest.mark.parametrize("token", ["", "plain text", "gAAAAA==", "ümlaut", "\x00"])
def test_what_is_no_token_is_an_error(token):
    for call in (FieldCipher([NEW]).decrypt, FieldCipher([NEW]).rotate):
        with pytest.raises(CryptoError, match="none of the field keys"):
            call(token)


def test_a_changed_token_is_an_error():
    token = FieldCipher([NEW]).encrypt("secret")
    changed = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
    with pytest.raises(CryptoError):
        FieldCipher([NEW]).decrypt(changed)


@pytest.mark.parametrize("key", [b"short", b"", b"x" * 44, b"\xff" * 32])
def test_a_bad_key_stops_the_start_without_being_shown(key):
    with pytest.raises(CryptoError, match="32 octets") as error:
        FieldCipher([key])
    assert key == b"" or key.decode("latin-1") not in str(error.value)


@pytest.mark.parametrize(
    "configured", [f"{NEW.decode()}, {OLD.decode()},", (NEW.decode(), OLD.decode())], ids=["text", "tuple"]
)
def test_field_keys_are_the_named_ones_then_the_derived_one(configured):
    keys = crypto.field_keys(configured, "server key")
    assert keys[:2] == [NEW, OLD]
    assert keys[2:] == crypto.field_keys("", "server key")


def test_fields_from_before_the_keys_were_named_are_still_read():
    token = FieldCipher(crypto.field_keys("", "server key")).encrypt("secret")
    assert FieldCipher(crypto.field_keys(NEW.decode(), "server key")).decrypt(token) == "secret"


def test_derived_keys_depend_on_key_and_purpose():
    keys = {crypto.derive_key(key, purpose) for key in ("a", "b") for purpose in ("x", "y")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    with pytest.raises(CryptoError, match="SECRET_KEY"):
        crypto.derive_key("", "x")


def test_secrets_are_readable_and_do_not_repeat():
    secrets = {crypto.make_secret() for _ in range(200)}
    assert len(secrets) == 200
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){6}[a-hjkmnp-z2-9]{4}", secret) for secret in secrets)
    assert len(crypto.READABLE) ** (4 * crypto.GROUPS) >= 2**128


def test_a_hash_fits_its_column_and_hides_the_secret():
    stored = crypto.hash_secret("only for tests", KEY)
    assert re.fullmatch(r"[0-9a-f]{64}", stored)


@pytest.mark.parametrize(
    ("secret", "key", "matches"),
    [
        ("only for tests", KEY, True),
        ("only for testS", KEY, False),
        ("", KEY, False),
        ("only for tests", b"other key", False),
        ("ümlaut \udc80", KEY, False),
    ],
)
def test_secret_matches(secret, key, matches):
    assert crypto.secret_matches(secret, crypto.hash_secret("only for tests", KEY), key) is matches


@pytest.mark.parametrize("stored", ["", "plain", "ü"])
def test_nothing_matches_a_hash_that_is_none(stored):
    assert not crypto.secret_matches(stored, stored, KEY)


def test_the_settings_keys_are_used():
    crypto.cipher_from_settings.cache_clear()
    crypto.credential_key_from_settings.cache_clear()
    try:
        with override_settings(SMG_FIELD_KEYS=(NEW.decode(),), SECRET_KEY="server key"):
            token = crypto.encrypt("secret")
            assert crypto.credential_key_from_settings() == KEY
            assert crypto.decrypt(crypto.rotate(token)) == "secret"
        assert FieldCipher([NEW]).decrypt(token) == "secret"
    finally:
        crypto.cipher_from_settings.cache_clear()
        crypto.credential_key_from_settings.cache_clear()
