# shellcheck shell=bash disable=SC2154 # WORK of the script
# Shared functions of the benchmarks' scripts. Sourced after scripts/lib/common.sh.

# Run FUNCTION CONTENDER ROUND for each contender in turn, in another order in each round; SEED determines the orders.
in_turn() { # ROUNDS FUNCTION CONTENDER...
  local round order contender
  for ((round = 1; round <= $1; round++)); do
    mapfile -t order < <(printf '%s\n' "${@:3}" | sort -R --random-source=<(yes "${SEED:-1} $round"))
    say "round $round of $1: ${order[*]}"
    for contender in "${order[@]}"; do "$2" "$contender" "$round"; done
  done
}

# Start an nginx with one worker and a constant answer.
start_constant_server() { # NAMESPACE ANSWER ADDRESS:PORT...
  cat >"$WORK/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; server_tokens off; keepalive_requests 1000000; default_type application/json;
  server { $(printf 'listen %s; ' "${@:3}") location / { return 200 '$2\n'; } }
}
CONF
  nsenter --net="/run/netns/$1" -- nginx -c "$WORK/nginx.conf" -e /dev/null &>/dev/null 9>&- &
}
