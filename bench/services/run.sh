#!/usr/bin/env bash
# Requests a second for GET /api/products through nginx: the lab's services against the original's way
# (Flask's development server, one requests.get a call: bench/services/original/), in one sandbox, in turns.
#
#   bench/services/run.sh [run]    ROUNDS=5 rounds of REQUESTS=3000 requests, 50 at a time; QUICK=1 for 2 rounds
#   bench/services/run.sh help
#
# Only good answers count: `ab` counts fast refusals as requests, too.
# Result: a table, or JSON with --json (or JSON=1), and reports/bench_services.csv.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/topology.sh"
# shellcheck source=faults/chaos/lab.sh
source "$ROOT/faults/chaos/lab.sh"
# shellcheck source=bench/common/bench.sh
source "$ROOT/bench/common/bench.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

ROUNDS=${ROUNDS:-${QUICK:+2}} ROUNDS=${ROUNDS:-5} REQUESTS=${REQUESTS:-3000}
export ROUNDS REQUESTS
ORIGINAL_PORT=3001 ORIGINAL_PRODUCT_PORT=5001 ORIGINAL_NGINX_PORT=81
CSV=$ROOT/reports/bench_services.csv
declare -A URL=() # URL of each path under test

start_original() { # start the original programs on the same nodes, on other ports
  local node urls=''
  REDIS_PASSWORD=$(sed -n 's/^REDIS_PASSWORD=//p' "$STATE_DIR/secrets")
  REDIS_HOST=${ADDRESS[$(nodes_running redis | sed -n 1p)]%/*} REDIS_PORT=6379
  export REDIS_PASSWORD REDIS_HOST REDIS_PORT
  for node in $(nodes_running product-service); do
    urls+="${urls:+,}http://${ADDRESS[$node]%/*}:$ORIGINAL_PRODUCT_PORT"
    start_program "$node" "$ORIGINAL_PRODUCT_PORT"
  done
  export PRODUCT_SERVICE_URLS=$urls
  node=$(nodes_running api-gateway | sed -n 1p)
  start_program "$node" "$ORIGINAL_PORT"
  start_original_nginx "$(nodes_running nginx | sed -n 1p)" "${ADDRESS[$node]%/*}"
}

start_program() { # NODE PORT
  SERVICE_IP=${ADDRESS[$1]%/*} SERVICE_PORT=$2 INSTANCE_ID=$1 nsenter --net="/run/netns/${NAMESPACE[$1]}" -- \
    "$VENV/bin/python" "$ROOT/bench/services/original/services.py" &>/dev/null 9>&- &
  defer kill "$!"
}

start_original_nginx() { # NODE GATEWAY: the original's configuration: proxy_pass and two headers
  local config=$RUN_DIR/original-nginx.conf
  cat >"$config" <<EOF
daemon off; pid $RUN_DIR/original-nginx.pid; error_log /dev/null;
events {}
http {
  access_log $RUN_DIR/original-nginx.log; # nginx writes an access log by default; the original did not change that
  server {
    listen ${ADDRESS[$1]%/*}:$ORIGINAL_NGINX_PORT;
    location / {
      proxy_pass http://$2:$ORIGINAL_PORT;
      proxy_set_header Host \$host;
      proxy_set_header X-Real-IP \$remote_addr;
    }
  }
}
EOF
  nsenter --net="/run/netns/${NAMESPACE[$1]}" -- nginx -c "$config" -e /dev/null &>/dev/null 9>&- &
  defer kill "$!"
  URL=([lab]=http://${ADDRESS[$1]%/*}:${LISTENS[$1]%%/*}/api/products
    [original]=http://${ADDRESS[$1]%/*}:$ORIGINAL_NGINX_PORT/api/products)
}

answers() { curl -fs -m 2 -o /dev/null "$1"; }

good_per_second() { # URL
  ab -l -q -s 30 -n "$REQUESTS" -c 50 "$1" | awk '
    /^Complete requests/ { complete = $3 } /^Failed requests/ { failed = $3 } /^Non-2xx/ { refused = $3 }
    /^Time taken/ { seconds = $5 }
    END { printf "%.1f %d\n", (complete - failed - refused) / seconds, failed + refused }'
}

measure() { # WAY ROUND
  local rate bad
  read -r rate bad < <(good_per_second "${URL[$1]}")
  say "$(printf '%-9s %8.1f good answers/s, %d bad' "$1" "$rate" "$bad")"
  echo "$2,$1,$rate,$bad" >>"$CSV"
}

# Both under the lab's policy; the original's ports are two lines more.
write_policy() {
  install -d -m 711 "$RUN_DIR"
  cat "$ROOT/security/flat.tsv" - >"$RUN_DIR/bench.tsv" <<EOF
original-front	nginx-lb	api-gateway	tcp	$ORIGINAL_PORT	-	accept	the original's way in
original-products	api-gateway	product-service	tcp	$ORIGINAL_PRODUCT_PORT	-	accept	the original's catalogue
EOF
  export POLICY=$RUN_DIR/bench.tsv
}

inside() {
  local way
  divert_text
  write_policy
  start_lab
  start_original
  for way in "${!URL[@]}"; do
    retry_until 20 answers "${URL[$way]}" || die "$way does not answer"
    good_per_second "${URL[$way]}" >/dev/null # a warm-up run
  done
  echo 'round,way,good_answers_per_second,bad_answers' >"$CSV"
  in_turn "$ROUNDS" measure lab original
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command bench.services.report "$CSV" ${JSON:+--json} >&"$DOCUMENT"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-run} in
  run) run_in_sandbox dev "$ROOT/bench/services/run.sh" inside ${JSON:+--json} ;;
  inside) inside ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
