"""portal.settings for the tests, cut off from the developer's `.env` and exported SMG_* variables.

pytest-django loads the settings before any conftest, so the environment has to be made here. What may come in from
outside is named: DATABASE_URL (to run on PostgreSQL) and SMG_TEST_*.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

for name in [name for name in os.environ if name.startswith("SMG_") and not name.startswith("SMG_TEST_")]:
    del os.environ[name]
for name in ("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS"):
    os.environ.pop(name, None)

VAR_DIR = tempfile.mkdtemp(prefix="smg-tests-")
OWNER = os.getpid()  # forked children must not take the directory away from their parent


@atexit.register
def _remove_var_dir() -> None:
    if os.getpid() == OWNER:
        shutil.rmtree(VAR_DIR, ignore_errors=True)


os.environ.update(
    SMG_ENV_FILE=os.devnull,
    SMG_VAR_DIR=VAR_DIR,
    SMG_HOSTNAME="smtp.smg.example",
    SMG_FIELD_KEYS="tlX4uTeXb7yVvYH1gcDhyJgX3kqVtIuSg8Z5Zs0vNDM=",
    SECRET_KEY="only for tests, long enough for every check that counts its characters 0123456789",
    DJANGO_ALLOW_ASYNC_UNSAFE="1",  # Playwright's synchronous API keeps a loop in the main thread
)

from portal.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher"
]  # tests log in often; PBKDF2 costs 0.4 s each
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
WHITENOISE_AUTOREFRESH = True
