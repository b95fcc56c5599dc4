"""Server time of every page with the demo's data: the customer's, support's, the administration's.

    .venv/bin/python -m bench.pages [--over MS] [--only WORD] [--profile]

A line a page, the slowest first: milliseconds of processor time (best and worst of five; SQLite's work is in it),
queries and size. With --profile each page's line is followed by where its time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from dataclasses import dataclass, replace
from typing import Any

RUNS = 5
LINES = 30  # of a profile
ASKED = {  # pages that show something only when asked
    "support_messages, of an address": "/support/messages/?q=erik@example.org&range=30d",
    "support_messages, of a domain": "/support/messages/?q=example.org&range=30d",
    "support_queue_verb": "/support/queue/hold/?state=queued",
    "help_page": "/help/domains/",
}


@dataclass(frozen=True, slots=True)
class Timed:
    name: str
    best_ms: float
    worst_ms: float
    queries: int
    kib: float

    def __str__(self) -> str:
        return f"{self.best_ms:7.1f} {self.worst_ms:7.1f} {self.queries:4} {self.kib:6.1f}  {self.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--over", type=float, default=0, help="only pages that take longer, in milliseconds")
    parser.add_argument("--only", default="", help="only pages whose name holds this word")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    customer, support = browsers()
    timed = [
        (timed_page(browser, name, address), browser, address)
        for name, (browser, address) in pages(customer, support).items()
        if options.only in name
    ]
    print("   best   worst  sql    KiB  page")
    for found, browser, address in sorted(timed, key=lambda one: -one[0].best_ms):
        if found.best_ms >= options.over:
            print(found)
            if options.profile:
                profile(browser, address)


def browsers() -> tuple[Any, Any]:
    """Makes the demo in a new database; returns the browsers of a customer's owner and of support."""
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client

    from portal.models import User

    settings.SMG = replace(settings.SMG, demo=True, nameservers=(), dnsbl_nameservers=())
    settings.WHITENOISE_AUTOREFRESH = False
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    call_command("demo_setup", verbosity=0)
    access = json.loads((settings.SMG.var_dir / "demo.json").read_text())
    found = []
    for email in (access["email"], access["support_email"]):
        client = Client()
        client.force_login(User.objects.get(email=email), "django.contrib.auth.backends.ModelBackend")
        found.append(client)
    return found[0], found[1]


def pages(customer: Any, support: Any) -> dict[str, tuple[Any, str]]:
    """Name -> (who looks at it, address)."""
    from tests.portal.demo_pages import addresses, admin_addresses, customer_patterns, support_patterns

    found = {name: (customer, address) for name, address in addresses(customer_patterns()).items()}
    for group in (addresses(support_patterns()), admin_addresses(), ASKED):
        found |= {name: (support, address) for name, address in group.items()}
    return {name: (who, address) for name, (who, address) in found.items() if is_page(who, address)}


def is_page(browser: Any, address: str) -> bool:
    """Verbs have no page. It is looked at once beforehand, so that templates and caches are as in a running server."""
    return browser.get(address).status_code in (200, 286)


def timed_page(browser: Any, name: str, address: str) -> Timed:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    runs = []
    for _ in range(RUNS):
        begun = time.process_time()
        body = content(browser.get(address))
        runs.append((time.process_time() - begun) * 1000)
    with CaptureQueriesContext(connection) as queries:
        content(browser.get(address))
    return Timed(name, min(runs), max(runs), len(queries), len(body) / 1024)


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def profile(browser: Any, address: str) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(lambda: content(browser.get(address)))
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(LINES)


if __name__ == "__main__":
    main()
