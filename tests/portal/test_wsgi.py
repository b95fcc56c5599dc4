"""What a web process does before its first visitor."""

from __future__ import annotations

import subprocess
import sys

ASK = (
    "import gc, sys; from portal import wsgi;"
    "assert 'portal.customer.messages' in sys.modules and 'portal.support.desk' in sys.modules;"
    "assert gc.get_freeze_count() > len(gc.get_objects())"
)


def test_it_has_imported_every_view_and_put_it_aside_for_the_collector() -> None:
    subprocess.run([sys.executable, "-c", ASK], check=True, timeout=60)
