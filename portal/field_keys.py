"""Moving every encrypted field of the database to the first of SMG_FIELD_KEYS, so that an older key can go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.apps import apps

from gateway import crypto

# Answers kept for repeated API writes are encrypted too, but live for a day only: see portal/api/idempotency.py.
ENCRYPTED_FIELDS = (
    ("gateway.DkimKey", "private_key"),
    ("gateway.Gateway", "next_hop_password"),
    ("blacklist.Provider", "key_encrypted"),
    ("portal.WebhookEndpoint", "secret"),
)


@dataclass
class Rotated:
    """What became of one column."""

    column: str
    done: int = 0
    changed_meanwhile: int = 0  # somebody saved a new value, which is under the first key already
    unreadable: list[int] = field(default_factory=list)  # primary keys that no key fits


def rotate_all() -> list[Rotated]:
    """Encrypt every field anew under the first key. May be run again at any time, and while the gateway works."""
    return [_each(label, name, _rotate) for label, name in ENCRYPTED_FIELDS]


def check_all() -> list[Rotated]:
    """Only try to decrypt every field; nothing is written."""
    return [_each(label, name, _check) for label, name in ENCRYPTED_FIELDS]


def _each(label: str, name: str, handle: Callable[[str, str, int, str], bool]) -> Rotated:
    result = Rotated(f"{label}.{name}")
    filled = apps.get_model(label)._default_manager.exclude(**{name: ""}).order_by("pk")
    for pk, token in filled.values_list("pk", name).iterator():
        try:
            done = handle(label, name, pk, token)
        except crypto.CryptoError:
            result.unreadable.append(pk)
            continue
        result.done += done
        result.changed_meanwhile += not done
    return result


def _rotate(label: str, name: str, pk: int, token: str) -> bool:
    """Compare and set: a value that was saved since it was read is newer than ours."""
    same = apps.get_model(label)._default_manager.filter(**{"pk": pk, name: token})
    return same.update(**{name: crypto.rotate(token)}) == 1


def _check(label: str, name: str, pk: int, token: str) -> bool:
    crypto.decrypt(token)
    return True
