#!/bin/sh
# Backs up the database, the spool and the relay's certificate into one file; prints its name.
#
#   deploy/backup/backup.sh              into $SMG_BACKUP_DIR [var/backups]; keeps the newest $SMG_BACKUP_KEEP [14]
#
# Safe beside full load: SQLite is copied by its online backup, PostgreSQL by pg_dump. The keys (SECRET_KEY and
# SMG_FIELD_KEYS) are NOT in it: without them the backup's private keys and secrets stay unreadable. Keep them apart.
set -eu
umask 077
cd "$(dirname "$0")/../.."
. deploy/backup/common.sh

destination=${SMG_BACKUP_DIR:-$var/backups}
name=smg-$(date -u +%Y%m%dT%H%M%SZ)
mkdir -p "$destination"
work=$(mktemp -d "$destination/.$name.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Bodies are hard-linked before and after the database is copied: whatever row the copy holds, its body is there.
link_spool() {
    [ -d "$spool" ] || return 0
    mkdir -p "$work/spool"
    (cd "$spool" && find . -type f) | while read -r file; do
        mkdir -p "$work/spool/$(dirname "$file")"
        ln "$spool/$file" "$work/spool/$file" 2>/dev/null || cp -p "$spool/$file" "$work/spool/$file" 2>/dev/null || true
    done
}

link_spool
if [ "$kind" = sqlite ]; then
    "$python" - "$sqlite" "$work/database.sqlite3" <<'EOF'
import sqlite3
import sys

source, target = (sqlite3.connect(path) for path in sys.argv[1:])
source.backup(target)
if target.execute("PRAGMA integrity_check").fetchone() != ("ok",):
    sys.exit("the copy of the database is damaged")
target.close()
EOF
else
    pg_dump --format=custom --file="$work/database.dump" "$DATABASE_URL"
fi
link_spool
if [ -d "$var/tls" ]; then
    cp -Rp "$var/tls" "$work/tls"
fi
printf '%s\n' "$kind" >"$work/kind"

tar -C "$work" -czf "$destination/.$name.tar.gz" .
mv "$destination/.$name.tar.gz" "$destination/$name.tar.gz"
echo "$destination/$name.tar.gz"

keep=${SMG_BACKUP_KEEP:-14}
ls -1 "$destination" | grep '^smg-.*\.tar\.gz$' | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    rm -f "$destination/$old"
done
