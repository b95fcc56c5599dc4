#!/bin/sh
# For a mail server's pipe: hands a feedback report on standard input to the gateway, with the settings of the services.
set -eu
cd "$(dirname "$0")/.."
set -a
. "${SMG_ENVIRONMENT:-/etc/smg/smg.env}"
set +a
export SMG_ENV_FILE=/dev/null SMG_VAR_DIR="${SMG_VAR_DIR:-/var/lib/smg}"
exec .venv/bin/python manage.py complaint
