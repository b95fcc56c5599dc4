"""CNAME keys alternate between two names, so that rotation needs nothing from the customer."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway.control import dkim
from gateway.models import DkimKey
from tests.factories import make_customer, make_domain

pytestmark = pytest.mark.django_db


def rotate(domain: object) -> DkimKey:
    key = dkim.request(domain, actor="alice@acme.example", kind=DkimKey.Kind.CNAME)  # type: ignore[arg-type]
    dkim.approve(key, actor="sam@smg.example")
    dkim.keep_check(key, problem="", now=timezone.now())
    dkim.activate(key, actor="system")
    return key


def test_cname_keys_alternate_and_wait_for_the_one_before() -> None:
    domain = make_domain(make_customer("acme"), "acme.example")
    first, second = rotate(domain), rotate(domain)
    assert (first.selector, second.selector) == ("smgc1", "smgc2")
    third = dkim.request(domain, actor="alice@acme.example", kind=DkimKey.Kind.CNAME)
    with pytest.raises(ValidationError, match="still needed"):
        dkim.approve(third, actor="sam@smg.example")
    first.refresh_from_db()
    dkim.revoke(first, actor="system")
    third.refresh_from_db()
    assert dkim.approve(third, actor="sam@smg.example")
    assert (third.selector, third.state) == ("smgc1", "publishing")


def test_txt_keys_take_a_new_name_each() -> None:
    domain = make_domain(make_customer("acme"), "acme.example")
    for number in (1, 2, 3):
        key = dkim.request(domain, actor="alice@acme.example")
        dkim.approve(key, actor="sam@smg.example")
        assert key.selector == f"smg{number}"
        dkim.revoke(key, actor="system")
