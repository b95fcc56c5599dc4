"""The rotation of the keys for encrypted fields."""

import re
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import override_settings

from gateway import crypto
from gateway.crypto import FieldCipher
from gateway.models import Gateway
from portal import field_keys

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh_cipher():
    crypto.cipher_from_settings.cache_clear()
    yield
    crypto.cipher_from_settings.cache_clear()


def gateway(password: str) -> Gateway:
    return Gateway.objects.create(name="mta01", hostname="mta01.smg.example", next_hop_password=password)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_field_keys", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
@override_settings(SMG_FIELD_KEYS=(NEW, OLD))
def test_every_field_moves_to_the_first_key():
    row = gateway(FieldCipher([OLD.encode()]).encrypt("hunter2"))
    assert "gateway.Gateway.next_hop_password: 1 rotated\n" in run()
    row.refresh_from_db()
    assert FieldCipher([NEW.encode()]).decrypt(row.next_hop_password) == "hunter2"
    assert "gateway.Gateway.next_hop_password: 1 rotated\n" in run()  # again does no harm


@pytest.mark.django_db
@override_settings(SMG_FIELD_KEYS=(NEW, OLD))
def test_check_changes_nothing():
    token = FieldCipher([OLD.encode()]).encrypt("hunter2")
    row = gateway(token)
    assert "gateway.Gateway.next_hop_password: 1 readable\n" in run("--check")
    row.refresh_from_db()
    assert row.next_hop_password == token


@pytest.mark.django_db
@override_settings(SMG_FIELD_KEYS=(NEW,))
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_field_that_no_key_fits_is_named_and_kept(arguments):
    token = FieldCipher([OLD.encode()]).encrypt("hunter2")
    row = gateway(token)
    with pytest.raises(
        CommandError, match=rf"gateway.Gateway.next_hop_password of {row.pk}; is a key missing"
    ):
        run(*arguments)
    row.refresh_from_db()
    assert row.next_hop_password == token


@pytest.mark.django_db
@override_settings(SMG_FIELD_KEYS=(NEW,))
def test_empty_fields_stay_empty():
    row = gateway("")
    assert "gateway.Gateway.next_hop_password: 0 rotated\n" in run()
    row.refresh_from_db()
    assert row.next_hop_password == ""


@pytest.mark.django_db
@override_settings(SMG_FIELD_KEYS=(NEW, OLD))
def test_a_value_saved_meanwhile_wins(monkeypatch):
    row = gateway(FieldCipher([OLD.encode()]).encrypt("old"))
    newer = FieldCipher([NEW.encode()]).encrypt("newer")
    rotate = crypto.rotate

    def slow_rotate(token: str) -> str:
        Gateway.objects.filter(pk=row.pk).update(next_hop_password=newer)
        return rotate(token)

    monkeypatch.setattr(crypto, "rotate", slow_rotate)
    (result,) = [found for found in field_keys.rotate_all() if "Gateway" in found.column]
    assert (result.done, result.changed_meanwhile) == (0, 1)
    row.refresh_from_db()
    assert row.next_hop_password == newer


def test_every_place_that_encrypts_is_known():
    """A new place appears here first, and in ENCRYPTED_FIELDS if its column lives longer than a day."""
    places = {
        str(path.relative_to(ROOT))
        for app in ("gateway", "blacklist", "portal")
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"\bcrypto\.encrypt\(", path.read_text("utf-8"))
    }
    assert places == {
        "blacklist/models/providers.py",  # Provider.key_encrypted
        "gateway/control/apply.py",  # Gateway.next_hop_password, DkimKey.private_key
        "gateway/control/dkim.py",  # DkimKey.private_key
        "gateway/control/gateways.py",  # Gateway.next_hop_password
        "portal/api/idempotency.py",  # IdempotencyKey.body, for a day
        "portal/webhooks/endpoints.py",  # WebhookEndpoint.secret
    }
