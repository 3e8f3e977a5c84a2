# shellcheck shell=bash disable=SC2154 # WORK of the script
# An nginx with one worker and a constant answer. Sourced after scripts/lib/common.sh.

start_constant_server() { # NAMESPACE ADDRESS:PORT ANSWER
  cat >"$WORK/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; server_tokens off; keepalive_requests 1000000; default_type application/json;
  server { listen $2; location / { return 200 '$3\n'; } }
}
CONF
  nsenter --net="/run/netns/$1" -- nginx -c "$WORK/nginx.conf" -e /dev/null &>/dev/null 9>&- &
}
