#!/bin/sh
# nginx, the entry point: it answers /health itself and proxies everything else to the gateway.
# Environment: SERVICE_IP, SERVICE_PORT, GATEWAYS (host:port, comma-separated; a host may be a name),
# UNLIMITED_CLIENTS (CIDRs, comma-separated: clients without a limit of open requests; loopback has none).
# Plain sh, because nginx's image has no bash.
set -eu

RUN_DIR=/dev/shm/${INSTANCE_ID:-nginx} # in memory: a full disk keeps nothing from starting
CONNECTIONS=16384                      # several times what one address may hold; each takes some kilobytes

servers() { # an entry for each address; see proxy_next_upstream for why there are five of each
  for gateway in $(echo "$GATEWAYS" | tr , ' '); do
    for address in $(addresses "${gateway%:*}"); do
      for _ in 1 2 3 4 5; do printf 'server %s max_fails=0; ' "$address:${gateway##*:}"; done
    done
  done
}

addresses() { # of a host; an address is its own
  case $1 in
    *[!0-9.]*) getent ahostsv4 "$1" | awk '{ print $1 }' | sort -u ;;
    *) echo "$1" ;;
  esac
}

unlimited() {
  for network in $(echo "${UNLIMITED_CLIENTS:-}" | tr , ' '); do printf '%s 0; ' "$network"; done
}

# nginx accepts no connection that it has no descriptor for, so it must not be promised more of them than it may open.
count_connections() {
  # shellcheck disable=SC3045 # dash and busybox have -H
  files=$(ulimit -H -n)
  [ "$files" != unlimited ] && [ "$files" -lt $((CONNECTIONS + 64)) ] || files=$((CONNECTIONS + 64))
}

write_config() { # SERVERS
  count_connections
  sed -e "s|@LISTEN@|$SERVICE_IP:$SERVICE_PORT|" -e "s|@FILES@|$files|" -e "s|@CONNECTIONS@|$((files - 64))|" \
    -e "s|@UNLIMITED_CLIENTS@|$(unlimited)|" -e "s|@RUN_DIR@|$RUN_DIR|" -e "s|@GATEWAYS@|$1|" \
    "$(dirname "$0")/nginx.conf.in" >"$RUN_DIR/nginx.conf.new"
  mv "$RUN_DIR/nginx.conf.new" "$RUN_DIR/nginx.conf"
}

# nginx asks for a name once, when it reads its configuration: another answer is another configuration.
follow_names() { # PID
  known=$(servers)
  while sleep 1 && kill -0 "$1" 2>/dev/null; do
    found=$(servers)
    if [ -n "$found" ] && [ "$found" != "$known" ]; then
      write_config "$found"
      kill -HUP "$1"
      known=$found
    fi
  done
}

mkdir -p "$RUN_DIR" && chmod 700 "$RUN_DIR"
until found=$(servers) && [ -n "$found" ]; do sleep 1; done # a name may not be there yet
write_config "$found"
case $GATEWAYS in *[!0-9.:,]*) follow_names $$ & ;; esac
exec nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx.conf" -e stderr
