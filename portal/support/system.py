"""System status: the data of /readyz with its sentences, processes, schedules, versions."""

from __future__ import annotations

import platform
from importlib import metadata

import django
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_q.models import Failure, Schedule

from gateway.models import Worker
from portal import status
from portal.support.base import staff_page

PACKAGES = ("Django", "aiosmtpd", "dnspython", "dkimpy", "cryptography", "django-q2", "uvloop")


@staff_page("GET")
def system(request: HttpRequest) -> HttpResponse:
    found = status.parts()
    context = {
        "parts": found,
        "overall": status.overall(found),
        "workers": Worker.objects.order_by("-seen_at")[:50],
        "schedules": Schedule.objects.order_by("next_run"),
        "failures": Failure.objects.order_by("-started")[:10],
        "versions": versions(),
    }
    return render(request, "support/system.html", context)


def versions() -> list[tuple[str, str]]:
    number = ".".join(map(str, connection.get_database_version()))
    database = f"{connection.vendor} {number}"
    shown = [("Python", platform.python_version()), ("Django", django.get_version()), ("Database", database)]
    return shown + [(name, _version(name)) for name in PACKAGES if name != "Django"]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "–"
