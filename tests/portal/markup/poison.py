"""A database in which everything that can be typed or sent by strangers is an attack: one row of every model, and the
same bad text in every text column and every string of every JSON column. A new model or column is poisoned by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import models
from django.utils import timezone

from blacklist.control import impact
from blacklist.models import CheckRun, DelistingTicket, Listing
from gateway.models import AuditEntry, Body, Gateway
from tests import factories
from tests.portal.api.conftest import World, make_world

OURS = ("gateway", "blacklist", "portal")
ALSO_SHOWN = (
    "account",
    "usersessions",
)  # addresses and browsers of people, on allauth's pages and the administration's
PRODUCT = "9801547"  # 1337 * 7331: on a page only if a template was made of what people wrote
ATTACKS = {
    # Breaks out of an attribute or an element; begins like a formula; ends with a right-to-left override.
    "markup": "=\"'><zqx onerror=zqx>&{{1337*7331}}{% debug %}\u202e",
    # A link's or form's whole address.
    "link": "javascript:zqx(1);\"'><zqx onclick=zqx>",
}
# What is not text of people: what we compute, encrypt or compare, and what must be right for the page to exist.
NOT_TEXT = {
    "password", "secret", "secret_hash", "previous_secret_hash", "private_key", "next_hop_password", "key_encrypted",
    "token_hash", "hash", "previous", "fingerprint", "prefix", "language", "time_zone", "theme", "spool", "zone",
    "session_key", "value", "severity", "alerted_severity",
}  # fmt: skip
# The same for strings in JSON: the name of the column, or of the key in it.
NOT_TEXT_IN_JSON = {"scopes", "events", "code_rows", "at", "kind", "gateways", "pairs"}


def poisoned_world(attack: str) -> World:
    world = make_world("acme", "alice", 1)
    world.customer.suspended_at = timezone.now()
    world.customer.save(update_fields=["suspended_at"])
    make_mail(world)
    make_findings(world)
    for model in our_models():
        if not model._default_manager.exists():
            make_row(model)
    for model in our_models():
        poison(model, attack)
    factories.make_domain(world.customer, "plain.example")  # the API's addresses take well-formed names only
    return world


def our_models() -> Iterator[type[models.Model]]:
    for label in OURS + ALSO_SHOWN:
        yield from apps.get_app_config(label).get_models()


def make_mail(world: World) -> None:
    """A bounced message with its story, and one in the queue whose content is still there."""
    gateway = factories.make_gateway("mta01")
    message = factories.make_message(
        world.customer, state="bounced", category="spam", score=90, symbols=[["SUBJECT", 90.0]],
        credential=world.customer.credentials.get(),
        trace=[{"step": "authors", "outcome": "pass", "detail": {"from": "x"}, "ms": 1},
               {"step": "virus", "outcome": "refuse", "detail": {"reply": "x"}, "ms": 1}],
    )  # fmt: skip
    factories.make_attempt(message.recipients.get(), gateway=gateway)
    factories.make_ndr(message, gateway=gateway)
    waiting = factories.make_message(world.customer, state="queued")
    Body.objects.create(message=waiting, content=b"Subject: x\r\n\r\n" + ATTACKS["markup"].encode())


def make_findings(world: World) -> None:
    """What look-ups left in JSON: a domain's records, whose mail a listing hit, a run's lists."""
    note = {
        "name": "x", "type": "x", "expected": "x", "state": "x", "found": ["x"], "notes": [["twice", "x"]], "ttl_s": 60,
        "lookups": 1, "lost_since": None, "good_since": None, "resolver": "x", "key": "spf",
    }  # fmt: skip
    world.customer.domains.update(records={"spf": note, "ownership": note, "other": note})
    gateway = Gateway.objects.get()
    Listing.objects.update(impact=impact.of_gateway(gateway, timezone.now() + timedelta(hours=1)))
    checks = [{"name": "x", "ok": None, "text": "x", "value": "x"}]
    DelistingTicket.objects.update(prechecks=checks, draft_fields=[["x", "x"]])
    lists = {"x": {"listed": 1, "canary": "x", "seconds": 1.0}}
    findings = [{"code": "x", "text": "x"}]
    CheckRun.objects.create(kind="daily", started_at=timezone.now(), lists=lists, findings=findings)
    AuditEntry.objects.update(detail={"x": ["x", "x"], "y": "x"})


def make_row(model: type[models.Model]) -> None:
    """A row of a model that no factory makes: the first of each choice, the first row of each table it points to."""
    fields = [field for field in model._meta.concrete_fields if not field.has_default() and not field.null]
    model._default_manager.create(**{field.name: value_of(field) for field in fields if field.name != "id"})


def value_of(field: Any) -> Any:
    if field.remote_field:
        return field.related_model._default_manager.first()
    if field.choices:
        return field.choices[0][0]
    made: dict[type[Any], Any] = {
        models.DateTimeField: timezone.now(), models.DateField: timezone.now().date(), models.BinaryField: b"",
        models.GenericIPAddressField: "192.0.2.1",
    }  # fmt: skip
    return next((value for kind, value in made.items() if isinstance(field, kind)), 1)


def poison(model: type[models.Model], attack: str) -> None:
    for row in model._default_manager.all():
        values = {field.name: bad_value(field, row, attack) for field in text_fields(model)}
        if values:
            model._default_manager.filter(pk=row.pk).update(**values)


def text_fields(model: type[models.Model]) -> list[Any]:
    text = (models.CharField, models.TextField, models.JSONField)
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, text)
        and not field.choices
        and field.name not in NOT_TEXT
        and not field.primary_key
    ]


def bad_value(field: Any, row: models.Model, attack: str) -> Any:
    bad = ATTACKS[attack]
    if isinstance(field, models.JSONField):
        return (
            getattr(row, field.name)
            if field.name in NOT_TEXT_IN_JSON
            else bad_json(getattr(row, field.name), bad)
        )
    if field.unique or any(field.name in together for together in uniques(type(row))):
        bad = f"{bad}{row.pk}"
    return bad[: field.max_length]


def uniques(model: type[models.Model]) -> Iterator[tuple[str, ...]]:
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            yield tuple(constraint.fields)


def bad_json(value: Any, bad: str) -> Any:
    """The same shape with bad text in it, and one more bad entry where a mapping may hold any."""
    if isinstance(value, dict):
        kept = {key: one if key in NOT_TEXT_IN_JSON else bad_json(one, bad) for key, one in value.items()}
        return kept | {bad: next(iter(kept.values()), bad)}
    if isinstance(value, list):
        return [bad_json(one, bad) for one in value]
    return bad if isinstance(value, str) and not is_time(value) else value


def is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
