#!/usr/bin/env bash
# nginx, the way in: answers /health itself and hands everything else to the gateway.
# Environment: SERVICE_IP, SERVICE_PORT, GATEWAYS (host:port, comma-separated), STATE_DIR.
set -euo pipefail

servers=''
for gateway in ${GATEWAYS//,/ }; do
  for _ in {1..5}; do servers+="server $gateway max_fails=0; "; done # see proxy_next_upstream
done
config=$STATE_DIR/nginx.conf
sed -e "s|@LISTEN@|$SERVICE_IP:$SERVICE_PORT|" -e "s|@STATE_DIR@|$STATE_DIR|" -e "s|@GATEWAYS@|$servers|" \
  "$(dirname "$0")/nginx.conf.in" >"$config.new"
mv "$config.new" "$config"
exec nginx -p "$STATE_DIR" -c "$config" -e stderr
