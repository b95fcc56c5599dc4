#!/bin/sh
# Puts a backup back: deploy/backup/restore.sh FILE.tar.gz
#
# Stop the relay and the scheduler first; the script refuses while they hold the database. What was in place is kept
# beside it (SQLite and spool: *.before-restore) or replaced in one transaction (PostgreSQL). Mail that was delivered
# after the backup was made is queued again in it: `manage.py queue hold` before the start lets you look first.
set -eu
umask 077
cd "$(dirname "$0")/../.."
. deploy/backup/common.sh

if [ $# -ne 1 ] || ! [ -f "$1" ]; then
    echo "usage: deploy/backup/restore.sh FILE.tar.gz" >&2
    exit 2
fi
mkdir -p "$var"
work=$(mktemp -d "$var/.restore.XXXXXX")
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xzf "$1"
if [ "$(cat "$work/kind")" != "$kind" ]; then
    echo "this backup is of $(cat "$work/kind"), DATABASE_URL is $kind" >&2
    exit 2
fi

set_aside() {
    rm -rf "$1.before-restore"
    if [ -e "$1" ]; then
        mv "$1" "$1.before-restore"
    fi
}

if [ "$kind" = sqlite ]; then
    "$python" - "$sqlite" "$work/database.sqlite3" <<'EOF'
import pathlib
import sqlite3
import sys

live, backup = sys.argv[1:]
if sqlite3.connect(backup).execute("PRAGMA integrity_check").fetchone() != ("ok",):
    sys.exit("the backup's database is damaged; nothing was changed")
if pathlib.Path(live).exists():
    connection = sqlite3.connect(live, timeout=2)
    try:  # an exclusive lock is only to be had when nobody else has the database open in WAL mode
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        sys.exit("the database is in use: stop the gateway first; nothing was changed")
    connection.close()
EOF
    set_aside "$sqlite"
    rm -f "$sqlite-wal" "$sqlite-shm"
    mv "$work/database.sqlite3" "$sqlite"
else
    others=$(psql -Atc "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'" "$DATABASE_URL")
    if [ "$others" != 0 ]; then
        echo "$others other connections use the database: stop the gateway on every node first; nothing was changed" >&2
        exit 1
    fi
    pg_restore --clean --if-exists --no-owner --single-transaction --exit-on-error --dbname="$DATABASE_URL" "$work/database.dump"
fi
if [ -d "$work/spool" ]; then
    set_aside "$spool"
    mv "$work/spool" "$spool"
fi
if [ -d "$work/tls" ] && ! [ -d "$var/tls" ]; then
    mv "$work/tls" "$var/tls"
fi
"$python" manage.py migrate --verbosity 0
echo "restored from $1"
