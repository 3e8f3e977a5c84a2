#!/bin/sh
# nginx, the entry point: it answers /health and the shop's page itself, and proxies everything else to the gateway.
# Environment: SERVICE_IP, SERVICE_IP6 (optional), SERVICE_PORT, GATEWAYS (host:port, comma-separated; a host may be a
# name), UNLIMITED_CLIENTS (CIDRs, comma-separated: clients without a limit of open requests; loopback has none).
# Plain sh, because nginx's image has no bash.
set -eu

RUN_DIR=/dev/shm/${INSTANCE_ID:-nginx} # tmpfs, so that nginx starts with a full disk
CONNECTIONS=16384                      # several times the limit per address; a connection takes some kilobytes

list_servers() { # five entries for each address; proxy_next_upstream in nginx.conf.in has the reason
  for gateway in $(echo "$GATEWAYS" | tr , ' '); do
    for address in $(list_addresses "${gateway%:*}"); do
      for _ in 1 2 3 4 5; do printf 'server %s max_fails=0; ' "$address:${gateway##*:}"; done
    done
  done
}

list_addresses() { # HOST, a name or an address; of IPv6 in brackets
  case $1 in
    \[*) echo "$1" ;;
    *[!0-9.]*) getent ahostsv4 "$1" | awk '{ print $1 }' | sort -u ;;
    *) echo "$1" ;;
  esac
}

list_unlimited_clients() {
  for network in $(echo "${UNLIMITED_CLIENTS:-}" | tr , ' '); do printf '%s 0; ' "$network"; done
}

# nginx needs a file descriptor for each connection: limit the connections to the descriptors that it may open.
count_connections() {
  # shellcheck disable=SC3045 # dash and busybox have -H
  files=$(ulimit -H -n)
  [ "$files" != unlimited ] && [ "$files" -lt $((CONNECTIONS + 64)) ] || files=$((CONNECTIONS + 64))
}

format_listen() { # the arguments of `listen`, a directive for each family
  case $SERVICE_IP in *:*) host="[$SERVICE_IP]" ;; *) host=$SERVICE_IP ;; esac
  echo "$host:$SERVICE_PORT backlog=4096${SERVICE_IP6:+; listen [$SERVICE_IP6]:$SERVICE_PORT backlog=4096}"
}

write_config() { # SERVERS
  count_connections
  html=$(cd "$(dirname "$0")/html" && pwd)
  sed -e "s|@LISTEN@|$(format_listen)|" -e "s|@FILES@|$files|" -e "s|@CONNECTIONS@|$((files - 64))|" \
    -e "s|@UNLIMITED_CLIENTS@|$(list_unlimited_clients)|" -e "s|@RUN_DIR@|$RUN_DIR|" -e "s|@GATEWAYS@|$1|" \
    -e "s|@HTML@|$html|" \
    "$(dirname "$0")/nginx.conf.in" >"$RUN_DIR/nginx.conf.new"
  mv "$RUN_DIR/nginx.conf.new" "$RUN_DIR/nginx.conf"
}

# nginx resolves a name only when it reads its configuration: write a new configuration when the addresses change.
follow_names() { # PID
  current=$(list_servers)
  while sleep 1 && kill -0 "$1" 2>/dev/null; do
    new=$(list_servers)
    if [ -n "$new" ] && [ "$new" != "$current" ]; then
      write_config "$new"
      kill -HUP "$1"
      current=$new
    fi
  done
}

mkdir -p "$RUN_DIR" && chmod 700 "$RUN_DIR"
until servers=$(list_servers) && [ -n "$servers" ]; do sleep 1; done # a name may not resolve yet
write_config "$servers"
case $GATEWAYS in *[!][0-9a-f.:,]*) follow_names $$ & ;; esac
exec nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx.conf" -e stderr
