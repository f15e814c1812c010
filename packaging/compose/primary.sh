# What the image of PostgreSQL runs once, when it has made db1: a standby may follow, and is waited for.
set -eu
echo 'host replication all samenet scram-sha-256' >> "$PGDATA/pg_hba.conf"
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres -c "ALTER SYSTEM SET synchronous_standby_names = 'db2'"
