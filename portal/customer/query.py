"""Reading search words from the address of a page."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest

LONGEST = 320


def search_words(request: HttpRequest, name: str = "q") -> str:
    """What was typed, cut and without NUL, which PostgreSQL takes in no text."""
    return request.GET.get(name, "").replace("\0", "").strip()[:LONGEST]


def is_address(text: str) -> bool:
    """Whether the words are an IP address; PostgreSQL compares an address only with one."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
