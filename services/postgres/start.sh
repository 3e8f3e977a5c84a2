#!/usr/bin/env bash
# PostgreSQL, the orders: SCRAM passwords, full durability. The first start creates the cluster.
# Environment: SERVICE_IP, SERVICE_IP6 (optional), SERVICE_PORT, DB_NAME and DB_USER (default: orders), DB_PASSWORD,
# DB_CLIENTS (CIDRs, comma-separated), STATE_DIR.
set -euo pipefail
umask 077
trap 'exit 143' INT TERM # exit: bash would continue if a signal ended only its child

# Debian installs the server's programs outside PATH, in a folder for each version.
programs=$({ find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null || :; } | sort -V | tail -1)
PATH=${programs:+$programs:}$PATH
version=$(postgres --version | grep -oE '[0-9]+' | sed -n 1p)
data=$STATE_DIR/$version
DB_NAME=${DB_NAME:-orders} DB_USER=${DB_USER:-orders} DB_CLIENTS=${DB_CLIENTS:-}
settings=(-c config_file="$PWD/postgresql.conf" -c unix_socket_directories="$STATE_DIR")
LOG_FILES=4 # WAL files of 16 MB, created in advance for a full disk; see postgresql.conf

die() {
  echo "start.sh: $*" >&2
  exit 1
}

# The server and all its children inherit descriptor 9, so the lock is free only after all of them have ended. The
# process id in postmaster.pid is no proof: after a power loss or in a new PID namespace it may be another process.
lock_data() {
  exec 9>>"$STATE_DIR/lock"
  flock --timeout 10 9 || die "another PostgreSQL still uses $STATE_DIR; it must end first"
}

remove_leftovers() { # remove files of a killed server
  rm -f "$data/postmaster.pid" "$STATE_DIR"/.s.PGSQL.*
  rmdir "$data" 2>/dev/null || : # an empty folder is not a cluster
}

# Run statements, one per line, in single-user mode, which accepts no connection. A failure is logged with its
# statement, so the password is replaced in the output.
run_single_user() { # DATA
  local line
  postgres --single -D "$1" "${settings[@]}" -c log_checkpoints=off -c exit_on_error=on postgres 2>&1 >/dev/null |
    while IFS= read -r line; do echo "${line//$DB_PASSWORD/(password)}"; done
}

# Create the cluster under another name and rename the complete one, so that an interrupted start begins again.
make_cluster() {
  local new=$data.new other
  for other in "$STATE_DIR"/[0-9]*/PG_VERSION; do # refuse an empty cluster after an upgrade
    [[ ! -e $other || $other == *.new/* ]] ||
      die "the orders are in ${other%/*}, but this is PostgreSQL $version: install version $(<"$other"), or use pg_dump"
  done
  rm -rf "$new"
  initdb --pgdata "$new" --username postgres --encoding UTF8 --locale C.UTF-8 \
    --auth-local peer --auth-host scram-sha-256
  run_single_user "$new" <<STATEMENTS
CREATE ROLE "$DB_USER" LOGIN
CREATE DATABASE "$DB_NAME" OWNER "$DB_USER"
STATEMENTS
  sync --file-system "$new"
  mv --no-target-directory "$new" "$data"
  sync "$STATE_DIR"
}

repair_access() {
  chmod -R u+rwX,go-rwx "$data"
  write_if_changed "$data/pg_hba.conf" "$(
    echo "local all postgres peer map=owner"
    for clients in ${DB_CLIENTS//,/ }; do echo "host $DB_NAME $DB_USER $clients scram-sha-256"; done
  )"
  write_if_changed "$data/pg_ident.conf" "owner $(id -un) postgres"
  # ALTER SYSTEM writes postgresql.auto.conf; PostgreSQL does not start with a damaged one.
  postgres -C max_connections -D "$data" "${settings[@]}" >/dev/null ||
    mv "$data/postgresql.auto.conf" "$data/postgresql.auto.conf.damaged"
}

write_if_changed() { # FILE TEXT; do not write at each start, because the disk may be full
  [[ $(cat "$1" 2>/dev/null) != "$2" ]] || return 0
  echo "$2" >"$1.new"
  mv "$1.new" "$1"
}

# Set the password at each start, so that a lost or damaged one does not lock the order service out. This happens before
# the server listens, and needs neither a password nor a connection. If a full disk makes it fail, the server keeps
# its old password.
set_password() {
  [[ $DB_PASSWORD =~ ^[0-9A-Za-z]+$ ]] || {
    echo "start.sh: no DB_PASSWORD, so the old password stays; \`make up\` creates a new one" >&2
    return
  }
  {
    echo "ALTER ROLE \"$DB_USER\" PASSWORD '$DB_PASSWORD' CONNECTION LIMIT 40"
    echo "ALTER ROLE \"$DB_USER\" SET statement_timeout TO '5s'"
    preallocate_wal
  } | run_single_user "$data" || echo "start.sh: the password could not be set, so the old one stays" >&2
}

preallocate_wal() { # print statements that create the missing WAL files
  local count
  count=$(find "$data/pg_wal" -regextype posix-extended -regex '.*/[0-9A-F]{24}' | wc -l)
  for (( ; count < LOG_FILES; count++)); do
    echo "SELECT pg_logical_emit_message(false, 'cnet', '')"
    echo "SELECT pg_switch_wal()"
  done
  echo "CHECKPOINT"
}

# A start writes a few files (PostgreSQL accepts no connection before it has written its relation cache). Reserve 2 MB
# in a file, which is removed if the disk is full.
reserve_space() {
  local free
  free=$(df --output=avail "$STATE_DIR" | tail -n 1)
  if ((free < 2048)); then rm -f "$STATE_DIR/room"; elif [[ ! -s $STATE_DIR/room ]]; then
    fallocate --length 2M "$STATE_DIR/room" || rm -f "$STATE_DIR/room"
  fi
}

lock_data
reserve_space
remove_leftovers
[[ -d $data ]] || make_cluster
repair_access
set_password
exec postgres -D "$data" "${settings[@]}" -c listen_addresses="$SERVICE_IP${SERVICE_IP6:+,$SERVICE_IP6}" \
  -c port="$SERVICE_PORT"
