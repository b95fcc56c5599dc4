"""Django's settings. Everything the operator may set comes from the environment (or `.env`), see docs/operations.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from gateway.config import Config, ConfigError, read_env_file
from portal.api.config import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

try:
    for name, value in read_env_file(Path(os.environ.get("SMG_ENV_FILE", BASE_DIR / ".env"))).items():
        os.environ.setdefault(name, value)
    SMG = Config.from_env(os.environ, BASE_DIR)
except ConfigError as error:
    raise ImproperlyConfigured(str(error)) from error

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is not set: put a long random string into the environment or .env")
SMG_FIELD_KEYS = tuple(env.list("SMG_FIELD_KEYS", default=[]))
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
# Private networks that webhooks may reach: laboratories and tests only.
SMG_WEBHOOK_NETWORKS = tuple(env.list("SMG_WEBHOOK_NETWORKS", default=[]))
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# What pages and schedule are made of. The relay has neither: without them each of its processes is 4 MB smaller.
PAGES_AND_SCHEDULE = [
    "django.contrib.admin.apps.SimpleAdminConfig",  # portal.urls finds the admin pages
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "django_filters",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
]
INSTALLED_APPS = [
    *([] if sys.argv[1:2] == ["relay"] else PAGES_AND_SCHEDULE),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "gateway",
    "blacklist",
    "portal",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.middleware.SeenMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.PersonMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.page",
            ],
        },
    },
]

SMG.var_dir.mkdir(parents=True, exist_ok=True)
# Opening a connection costs PostgreSQL 8 ms, a relay process reads more than once a second, and a page should not wait
# for it either: so connections are kept, and looked after before they are used again.
DATABASES: dict[str, Any] = {
    "default": {
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        **env.db("DATABASE_URL", default=f"sqlite:///{SMG.var_dir / 'smg.sqlite3'}"),
    }
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE: a transaction that reads first cannot upgrade its lock; WAL: readers never wait for the writer;
    # FULL: a commit is on the disk when it returns, which is what our 250 promises. cache_size is in KiB for each of a
    # relay process's two connections; what is kept in it ends with the next commit of another process anyway.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        transaction_mode="IMMEDIATE",
        timeout=20,
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4000;",
    )
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # What the relay writes for every message (`gateway.rows`) is prepared at its second execution. Django's own queries
    # are never prepared.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("prepare_threshold", 1)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "portal.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
USERSESSIONS_TRACK_ACTIVITY = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG or SMG.demo
MFA_TOTP_ISSUER = "Secure Mail Gateway"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "Europe/Berlin"

STATIC_URL = "static/"
STATIC_ROOT = SMG.var_dir / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# Behind TLS unless the portal is served on plain http for development and the demo.
ON_HTTPS = SMG.public_url.startswith("https:")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ON_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 86400
SECURE_SSL_REDIRECT = ON_HTTPS and env.bool("SMG_SSL_REDIRECT", default=True)
SECURE_HSTS_SECONDS = 31_536_000 if ON_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ON_HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.bool("SMG_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 60 * 1024 * 1024
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# One task per message would never keep up; the cluster runs the schedule (05:00 check, clean-up, digests) and
# the portal's long work. retry > timeout, or a slow task would be started twice.
Q_CLUSTER = {
    "name": "smg",
    "orm": "default",
    "workers": 2,
    "timeout": 3600,
    "retry": 4000,
    "max_attempts": 1,
    "poll": 1.0,
    "catch_up": False,
    "save_limit": 1000,
    "label": _("Background tasks"),
}

DEFAULT_FROM_EMAIL = SERVER_EMAIL = f"Secure Mail Gateway <postmaster@{SMG.hostname}>"
EMAIL_BACKEND = "portal.mail.RelayBackend"

LOG_LEVEL = env.str("SMG_LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "gateway.log.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "mail.log": {"level": "ERROR"},  # aiosmtpd warns twice per AUTH about its own deprecations
        "django.request": {"level": "ERROR"},
    },
}
