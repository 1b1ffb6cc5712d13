#!/bin/sh
# backup.sh FOLDER: dumps the database of DATABASE_URL into FOLDER, checks that the dump can be read, prints its path.
set -eu
folder=${1:?usage: backup.sh FOLDER, with DATABASE_URL in the environment}
umask 077
dump="$folder/skillgate-$(date -u +%Y%m%dT%H%M%SZ).dump"
# One snapshot of everything, beside running calls. Rights belong to roles of the server and are set by `migrate`.
pg_dump --format=custom --no-owner --no-privileges --lock-wait-timeout=60s --file="$dump.part" "${DATABASE_URL:?}"
pg_restore --list "$dump.part" >/dev/null
mv "$dump.part" "$dump"
printf '%s\n' "$dump"
