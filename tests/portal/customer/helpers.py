"""What the tests of the customer's pages share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import Client
from django.urls import reverse

Zone = dict[str, dict[str, list[str]]]
Browser = Callable[[Any], Client]


def text_of(browser: Client, name: str, *args: Any, **query: Any) -> str:
    return browser.get(reverse(name, args=args), query).content.decode()
