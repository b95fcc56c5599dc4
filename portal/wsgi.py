"""The portal for a WSGI server (gunicorn portal.wsgi)."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()
get_resolver().url_patterns  # noqa: B018  imports every view now: half a second that the first visitor would wait
gc.freeze()  # all this lives as long as the process; going through it takes 70 ms of somebody's page
