#!/usr/bin/env bash
# Check the two-node swarm under a constant load (docker/swarm.sh up first).
#
#   docker/swarm_verify.sh all       all of the following (the default)
#   docker/swarm_verify.sh traffic   both nodes' instances answer, and the traffic between them goes through VXLAN
#   docker/swarm_verify.sh update    a rolling update of products, orders and gateway: no request may fail
#   docker/swarm_verify.sh loss      cut node 2 off and restore it: which requests fail, and for how long
#   docker/swarm_verify.sh help
#
# Exit 1 when anything failed. reports/swarm_update.csv and swarm_loss.csv have each request of the load.

# shellcheck source=docker/swarm_nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/swarm_nodes.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"

GETS=30 ORDERS=3 # a second: the test counts lost requests and does not measure speed
LOAD=            # its pid
REPORTS=${REPORTS:-$ROOT/reports}
WORK=$(mktemp -d)
defer rm -rf "$WORK"

start_load() { # NAME: an open loop, in node 1's namespace; reports/swarm_NAME.csv has each request
  ANSWERS=$REPORTS/swarm_$1.csv
  mkdir -p "$REPORTS"
  # Do not use the function `at`: end_load would kill only its subshell, and the load would continue.
  nsenter --net="/run/netns/$(namespace 1)" -- "$VENV/bin/python" -m faults.chaos.load --url "${URL%/api/*}" \
    --gets "$GETS" --orders "$ORDERS" --seconds 300 --out "$ANSWERS" &
  LOAD=$!
  defer end_load
  pause 3
}
end_load() {
  [[ -z $LOAD ]] || { kill "$LOAD" 2>/dev/null && wait "$LOAD"; } || :
  LOAD=
}
pause() { read -rt "$1" <> <(:) || :; } # SECONDS

# Print the load's requests since a time: KIND TIME STATUS, one per line.
answers_since() { # BAD|GOOD [SECONDS_SINCE_1970]
  awk -F, -v wanted="$1" -v since="${2:-0}" \
    'NR > 1 && $2 > since && (($4 == 200 || $4 == 201) == (wanted == "GOOD")) { print $1, $2, $4 }' "$ANSWERS"
}
count_answers() { answers_since "$@" | wc -l; }

# Print the ids of a service's containers at a node; an instance is named after its container's id.
instances_at() { # NODE SERVICE
  on "$1" ps --quiet --filter "label=com.docker.swarm.service.name=${STACK}_$2" | sort
}

verify_traffic() {
  local node bad packets
  title "Cross-node traffic"
  at 1 timeout 20 tcpdump -i wire -nn -q -c 50 'udp port 4789' >"$WORK/vxlan" 2>/dev/null &
  for _ in {1..60}; do
    at 1 curl -sS -m 3 "$URL" 2>&1 | jq -Rr '(fromjson? | .instance) // "no answer: \(.)"'
  done | sort | uniq -c >"$WORK/instances"
  bad=$(grep -F 'no answer' "$WORK/instances") || :
  check 'all of 60 requests were answered' "requests failed: $bad" test -z "$bad"
  for node in 1 2; do verify_answers_of "$node"; done
  wait $! || :
  packets=$(wc -l <"$WORK/vxlan")
  check "between the nodes: $(sed -n 1p "$WORK/vxlan" | cut -d' ' -f2-6) (VXLAN, UDP port 4789)" \
    "only $packets packets of VXLAN between the nodes" test "$packets" -ge 50
}

verify_answers_of() { # NODE
  local seen
  seen=$({ instances_at "$1" product-service | grep -F -f - "$WORK/instances" || :; } |
    awk '{ sum += $1 } END { print sum + 0 " of 60 answers from " NR " instances" }')
  check "node $1: $seen" "node $1: $seen" test "${seen%% *}" != 0
}

update() { # SERVICE
  local before
  before=$(instances_at 1 "$1" && instances_at 2 "$1")
  on 1 service update --detach=false --quiet --force "${STACK}_$1" >/dev/null || failed "$1: the update failed"
  # Old instances first finish their open requests.
  check "$1: all instances are new" "$1: an old instance still runs" retry_until 30 none_runs "$1" "$before"
}
none_runs() { ! { instances_at 1 "$1" && instances_at 2 "$1"; } | grep -xF -f <(echo "$2") >/dev/null; } # SERVICE IDS

verify_update() {
  local service bad
  title "A rolling update under $GETS GETs and $ORDERS orders a second"
  start_load update
  for service in product-service order-service api-gateway; do update "$service"; done
  pause 3
  end_load
  bad=$(answers_since BAD | awk '{ print $1, $3 }' | sort | uniq -c | tr -s ' \n' ' ')
  check "$(count_answers GOOD) requests, 0 failed" "requests failed: $bad" test -z "$bad"
}

node_2_is() { [[ $(on 1 node inspect --format '{{.Status.State}}' "$(namespace 2)") == "$1" ]]; }
all_on_node_1() { (($(instances_at 1 product-service | wc -l) >= 4)); }

verify_loss() {
  local cut last
  title "Node 2 cut off, under the same load"
  start_load loss
  cut=$EPOCHSECONDS
  ip -n "$(namespace 2)" link set wire down
  defer ip -n "$(namespace 2)" link set wire up
  retry_until 60 node_2_is down || :
  check "the manager marks node 2 down after $((EPOCHSECONDS - cut)) s" \
    'the manager has not marked node 2 down after 60 s' node_2_is down
  retry_until 60 all_on_node_1 || failed "its tasks were not started on node 1 within 60 s"
  pause 8
  end_load
  last=$(answers_since BAD "$cut" | awk -v cut="$cut" '$2 - cut > last { last = $2 - cut } END { printf "%.1f", last }')
  passed "$(count_answers GOOD) requests were answered, $(count_answers BAD) failed;" \
    "the last failure came $last s after the cut"
  check 'in the last 5 s every request was answered' 'requests still fail' \
    test "$(count_answers BAD $((EPOCHSECONDS - 5)))" = 0
  verify_return
}

verify_return() {
  local running
  ip -n "$(namespace 2)" link set wire up
  check 'the link is up: node 2 is ready again' 'node 2 is not ready 60 s after its link is up' \
    retry_until 60 node_2_is ready
  on 1 service update --detach=false --quiet --force "${STACK}_product-service" >/dev/null
  running=$(instances_at 2 product-service | wc -l)
  check "products run on node 2 again: $running of 4" 'no product runs on node 2' test "$running" != 0
}

main() { # all|traffic|update|loss
  need_root
  need_tools tcpdump jq curl nsenter
  need_environment
  cd "$ROOT"
  answers 1 || die "no swarm runs; docker/swarm.sh up"
  verify_parts "$1" traffic update loss
}

case ${1:-all} in
  all | traffic | update | loss) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
