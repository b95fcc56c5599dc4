"""Every address of the URL conf, filled in with whatever there is in the database: a new page is found by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.urls import NoReverseMatch, URLPattern, get_resolver, reverse

from gateway.models import Domain, Message, Recipient
from gateway.rules.ids import to_text
from tests.portal.markup.poison import OURS, our_models

WORDS = (
    "hold",
    "release",
    "dns",
    *OURS,
)  # what addresses hold besides ids: verbs, help pages, parts of the admin


class Address:
    """One pattern of the URL conf with a name."""

    def __init__(self, name: str, pattern: URLPattern) -> None:
        self.name = name
        self.parameters = list(pattern.pattern.regex.groupindex)
        view: Any = pattern.callback
        self.module = getattr(view, "cls", view).__module__

    def paths(self, candidates: Sequence[Any]) -> Iterator[str]:
        """Its paths for all ids that have the form it takes."""
        for one in self._rows_of_the_admin() or candidates if self.parameters else [None]:
            try:
                yield reverse(self.name, kwargs=dict.fromkeys(self.parameters, one))
            except NoReverseMatch:
                continue

    def _rows_of_the_admin(self) -> list[Any]:
        models = {
            f"{model._meta.app_label}_{model._meta.model_name}": model for model in admin.site._registry
        }
        model = models.get(self.name.removeprefix("admin:").rpartition("_")[0])
        return list(model._default_manager.values_list("pk", flat=True)) if model else []


def all_addresses(patterns: Any = None, namespace: str = "") -> Iterator[Address]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if not isinstance(pattern, URLPattern):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from all_addresses(pattern.url_patterns, inner)
        elif pattern.name:
            yield Address(namespace + pattern.name, pattern)


def candidates() -> list[Any]:
    """All ids of all tables, as numbers, and the texts that stand for objects in addresses."""
    keys = {pk for model in our_models() for pk in model._default_manager.values_list("pk", flat=True)}
    texts = [
        to_text(pk) for model in (Message, Recipient) for pk in model.objects.values_list("pk", flat=True)
    ]
    return [*keys, *texts, *Domain.objects.values_list("name", flat=True), *WORDS]
