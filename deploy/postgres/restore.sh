#!/bin/sh
# restore.sh DUMP: restores a dump into the empty database of DATABASE_URL, all of it or nothing.
# Then: `manage.py migrate` (rights, newer migrations), `manage.py verify_ledger`, and only then start the platform.
set -eu
dump=${1:?usage: restore.sh DUMP, with DATABASE_URL in the environment}
role=${SKILLGATE_CONSOLE_ROLE-skillgate_tenant}
tables=$(psql --no-psqlrc --tuples-only --no-align --dbname="${DATABASE_URL:?}" --command="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
if [ "$tables" -ne 0 ]; then
    echo "The database is not empty ($tables tables): restore into a new one." >&2
    exit 1
fi
if [ -n "$role" ]; then
    # Policies name this role, and roles are not part of a database.
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=role="$role" --dbname="$DATABASE_URL" <<'SQL'
SELECT format('CREATE ROLE %I NOLOGIN', :'role') WHERE to_regrole(quote_ident(:'role')) IS NULL \gexec
SQL
fi
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DATABASE_URL" "$dump"
