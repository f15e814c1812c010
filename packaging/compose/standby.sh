# The start of db2: a copy of db1 at first, and from then on what it is, a standby or, once it is promoted, the primary.
set -eu
while [ ! -s "$PGDATA/PG_VERSION" ]; do
  pg_basebackup -d 'host=db1 user=otaseal application_name=db2' -D "$PGDATA" -R -X stream -c fast || sleep 2
done
exec docker-entrypoint.sh postgres
