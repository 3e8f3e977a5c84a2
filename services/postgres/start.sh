#!/usr/bin/env bash
# PostgreSQL, the orders: scram passwords, durability left on. The first start makes the cluster.
# Environment: SERVICE_IP, SERVICE_PORT, DB_NAME, DB_USER, DB_PASSWORD, DB_CLIENTS (CIDRs, comma-separated), STATE_DIR.
set -euo pipefail

# Debian keeps the server's programs off PATH, a folder for each version.
programs=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
PATH=${programs:+$programs:}$PATH
version=$(postgres --version | grep -oE '[0-9]+' | head -1)
data=$STATE_DIR/$version

# Under another name until it is whole: a start that is killed half-way is made anew.
make_cluster() {
  local new=$data.new
  rm -rf "$new"
  initdb --pgdata "$new" --username postgres --encoding UTF8 --locale C.UTF-8 --auth-local peer --auth-host scram-sha-256
  postgres --single -D "$new" postgres >/dev/null <<EOF
CREATE ROLE "$DB_USER" LOGIN PASSWORD '$DB_PASSWORD'
CREATE DATABASE "$DB_NAME" OWNER "$DB_USER"
EOF
  mv "$new" "$data"
}

[[ -d $data ]] || make_cluster
{
  echo "local all postgres peer"
  for clients in ${DB_CLIENTS//,/ }; do echo "host $DB_NAME $DB_USER $clients scram-sha-256"; done
} >"$data/pg_hba.conf"
# mmap: shared memory in a file of the cluster's own, so that nothing is left in /dev/shm after a kill.
exec postgres -D "$data" -c listen_addresses="$SERVICE_IP" -c port="$SERVICE_PORT" \
  -c unix_socket_directories="$STATE_DIR" -c dynamic_shared_memory_type=mmap \
  -c password_encryption=scram-sha-256 -c max_connections=50 -c shared_buffers=64MB
