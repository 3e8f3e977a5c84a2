#!/bin/sh
# nginx, the way in: answers /health itself and hands everything else to the gateway.
# Environment: SERVICE_IP, SERVICE_PORT, GATEWAYS (host:port, comma-separated; a host may be a name), STATE_DIR.
# Plain sh, for nginx's own image has no bash.
set -eu

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

write_config() { # SERVERS
  sed -e "s|@LISTEN@|$SERVICE_IP:$SERVICE_PORT|" -e "s|@STATE_DIR@|$STATE_DIR|" -e "s|@GATEWAYS@|$1|" \
    "$(dirname "$0")/nginx.conf.in" >"$STATE_DIR/nginx.conf.new"
  mv "$STATE_DIR/nginx.conf.new" "$STATE_DIR/nginx.conf"
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

until found=$(servers) && [ -n "$found" ]; do sleep 1; done # a name may not be there yet
write_config "$found"
case $GATEWAYS in *[!0-9.:,]*) follow_names $$ & ;; esac
exec nginx -p "$STATE_DIR" -c "$STATE_DIR/nginx.conf" -e stderr
