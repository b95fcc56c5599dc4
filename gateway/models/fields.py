"""What the models share: the key of messages, and what may stand in a domain, network or sender field."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _

LABEL = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)$")


class MadeId(models.BigIntegerField):  # type: ignore[type-arg]
    """A primary key that the relay makes (`rules/ids.py`). On SQLite only a column of type `integer` is the row's own
    number; any other key is an index beside the table, to be written and searched once more for each row."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "integer" if connection.vendor == "sqlite" else super().db_type(connection)


def validate_domain(value: str) -> None:
    """Lower-case A-labels, at least two, no trailing dot."""
    labels = value.split(".")
    if (
        len(labels) < 2
        or len(value) > 253
        or not all(LABEL.match(label) for label in labels)
        or labels[-1].isdigit()
    ):
        raise ValidationError(
            _("“%(value)s” is not a domain name like example.com."), params={"value": value}
        )


def validate_domain_pattern(value: str) -> None:
    """A domain, or '.domain' for everything below it."""
    validate_domain(value.removeprefix("."))


def validate_network(value: Any) -> None:
    """One network or address in CIDR form, or a list of them."""
    for item in value if isinstance(value, list) else [value]:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError as error:
            raise ValidationError(
                _("“%(value)s” is not a network like 192.0.2.0/28."), params={"value": item}
            ) from error


def validate_senders(value: Any) -> None:
    """A list of addresses or domains."""
    if not isinstance(value, list):
        raise ValidationError(_("Expected a list of addresses or domains."))
    for item in value:
        validate_domain(str(item).rpartition("@")[2])
