"""The administration as a whole: every model has its pages, and Django finds nothing wrong with them."""

from __future__ import annotations

import subprocess
import sys

from django.contrib import admin
from django.core import checks

import portal.urls


def test_the_pages_are_found_and_in_order() -> None:
    assert portal.urls.urlpatterns
    apps = {model._meta.app_label for model in admin.site._registry}
    assert apps >= {"gateway", "blacklist", "portal"}
    assert checks.run_checks(tags=["admin"]) == []


def test_the_relay_does_without_them() -> None:
    program = (
        "import django, sys; django.setup(); import gateway.relay_master;"
        "assert not {'gateway.admin', 'blacklist.admin', 'portal.admin'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
