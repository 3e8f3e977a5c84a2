# shellcheck shell=bash disable=SC2154 # variables of targets.py
scripts/contain.sh exec "$NODE" env PGAPPNAME=migration psql -XAtq -h /state -p "$LISTENS" -d orders \
  -c 'BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(100000)' </dev/null >/dev/null 2>&1 &
echo "$!" >/run/cnet/migration.pid
