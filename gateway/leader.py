"""How the supervisor starts one of its parts: `python -m gateway.leader SUPERVISOR_PID COMMAND [ARG ...]`.

Binds the process to its supervisor and its own forked children to itself (django-q2's and gunicorn's know nothing of
that), then becomes `gunicorn` or a management command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gateway.orphans import bind_forked_children, die_with_parent

CHATTY = {"scheduler"}  # django-q2 tells every coming and going of its processes as information


def main(arguments: Sequence[str]) -> None:
    supervisor, command, *rest = arguments
    die_with_parent(
        int(supervisor)
    )  # SIGKILL: django-q2's cluster may hang in an orderly end, and all parts survive it
    bind_forked_children()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if command in CHATTY:
        os.environ.setdefault("SMG_LOG_LEVEL", "WARNING")
    sys.argv = [command, *rest]
    if command == "gunicorn":
        from gunicorn.app.wsgiapp import run

        run()
        return
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", command, *rest])


if __name__ == "__main__":
    main(sys.argv[1:])
