#!/usr/bin/env bash
# Proof of the two-node swarm, by trying it under a constant load (docker/swarm.sh up first).
#
#   docker/swarm_verify.sh all       all of the following (the default)
#   docker/swarm_verify.sh traffic   both nodes' instances answer, and what is between them goes through VXLAN
#   docker/swarm_verify.sh update    a rolling update of products, orders and gateway: no request may fail
#   docker/swarm_verify.sh loss      node 2 is cut off and comes back: who answers meanwhile, and after how long all is well
#   docker/swarm_verify.sh help
#
# Exit 1 when anything failed. reports/swarm_update.csv and swarm_loss.csv have each request of the load.

# shellcheck source=docker/swarm_nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/swarm_nodes.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"

GETS=30 ORDERS=3 # a second: what is shown is a loss of requests, not of speed
LOAD=            # its pid
REPORTS=${REPORTS:-$ROOT/reports}
WORK=$(mktemp -d)
defer rm -rf "$WORK"

start_load() { # NAME: an open loop, in node 1's namespace; reports/swarm_NAME.csv has each request
  ANSWERS=$REPORTS/swarm_$1.csv
  mkdir -p "$REPORTS"
  nsenter --net="/run/netns/$(namespace 1)" -- "$VENV/bin/python" -m faults.chaos.load --url "${URL%/api/*}" --gets "$GETS" --orders "$ORDERS" \
    --seconds 300 --out "$ANSWERS" &
  LOAD=$!
  defer end_load
  wait_a_little 3
}
end_load() {
  [[ -z $LOAD ]] || { kill "$LOAD" 2>/dev/null && wait "$LOAD"; } || :
  LOAD=
}
wait_a_little() { read -rt "$1" <> <(:) || :; } # SECONDS

bad_answers() { awk -F, 'NR > 1 && $4 != 200 && $4 != 201' "$ANSWERS" | wc -l; }
good_answers() { awk -F, 'NR > 1 && ($4 == 200 || $4 == 201)' "$ANSWERS" | wc -l; }

# The containers of a service at a node, by which instances are known.
instances_at() { # NODE SERVICE
  on "$1" ps --quiet --filter "label=com.docker.swarm.service.name=${STACK}_$2" | sort
}

verify_traffic() {
  local node seen packets bad
  title "Cross-node traffic"
  at 1 timeout 20 tcpdump -i wire -nn -q -c 50 'udp port 4789' >"$WORK/vxlan" 2>/dev/null &
  for _ in {1..60}; do at 1 curl -sS -m 3 "$URL" 2>&1 | jq -Rr '(fromjson? | .instance) // "no answer: \(.)"'; done | sort | uniq -c >"$WORK/instances"
  bad=$(grep -F 'no answer' "$WORK/instances") || :
  if [[ -z $bad ]]; then passed 'all of 60 requests were answered'; else failed "requests failed: $bad"; fi
  for node in 1 2; do
    seen=$(instances_at "$node" product-service | while read -r id; do grep -F "$id" "$WORK/instances"; done | awk '{ sum += $1; n++ } END { print sum + 0 " of 60 answers from " n + 0 " instances" }')
    if [[ $seen != 0\ * ]]; then passed "node $node: $seen"; else failed "node $node: $seen"; fi
  done
  wait $! || :
  packets=$(wc -l <"$WORK/vxlan")
  if ((packets >= 50)); then passed "between the nodes: $(head -1 "$WORK/vxlan" | cut -d' ' -f2-6) (VXLAN, UDP port 4789)"; else failed "only $packets packets of VXLAN between the nodes"; fi
}

update() { # SERVICE
  local before
  before=$(instances_at 1 "$1" && instances_at 2 "$1")
  on 1 service update --detach=false --quiet --force "${STACK}_$1" >/dev/null || failed "$1: the update failed"
  # The old ones finish what they have begun.
  if retry_until 30 none_of "$1" "$before"; then passed "$1: all instances are new"; else failed "$1: an old instance is still there"; fi
}
none_of() { ! { instances_at 1 "$1" && instances_at 2 "$1"; } | grep -xF -f <(echo "$2") >/dev/null; } # SERVICE INSTANCES

verify_update() {
  local service
  title "A rolling update under $GETS GETs and $ORDERS orders a second"
  start_load update
  for service in product-service order-service api-gateway; do update "$service"; done
  wait_a_little 3
  end_load
  if (($(bad_answers) == 0)); then passed "$(good_answers) requests, 0 failed"; else
    failed "$(bad_answers) of $(($(good_answers) + $(bad_answers))) requests failed: $(awk -F, 'NR > 1 && $4 != 200 && $4 != 201 { print $1, $4 }' "$ANSWERS" | sort | uniq -c | tr -s ' \n' ' ')"
  fi
}

node_2_is() { [[ $(on 1 node inspect --format '{{.Status.State}}' "$(namespace 2)") == "$1" ]]; }

last_bad_second() { # since EPOCH: seconds after it of the last bad answer
  awk -F, -v since="$1" 'NR > 1 && $4 != 200 && $4 != 201 && $2 - since > last { last = $2 - since } END { printf "%.1f", last }' "$ANSWERS"
}

verify_loss() {
  local cut bad good
  title "Node 2 cut off, under the same load"
  start_load loss
  cut=$EPOCHSECONDS
  ip -n "$(namespace 2)" link set wire down
  defer ip -n "$(namespace 2)" link set wire up
  if retry_until 60 node_2_is down; then passed "the manager counts it out after $((EPOCHSECONDS - cut)) s"; else failed "the manager still counts node 2 in after 60 s"; fi
  retry_until 60 all_on_node_1 || failed "its tasks were not made anew on node 1 within 60 s"
  wait_a_little 8
  end_load
  bad=$(bad_answers) good=$(good_answers)
  passed "$good requests answered well, $bad not; the last bad one $(last_bad_second "$cut") s after the cut"
  if (($(awk -F, -v since="$((EPOCHSECONDS - 5))" 'NR > 1 && $2 > since && $4 != 200 && $4 != 201' "$ANSWERS" | wc -l) == 0)); then
    passed 'in the last 5 s every request was answered'
  else failed 'requests still fail'; fi
  ip -n "$(namespace 2)" link set wire up
  if retry_until 60 node_2_is ready; then passed 'the wire is back: node 2 is ready again'; else failed 'node 2 does not come back within 60 s'; fi
  on 1 service update --detach=false --quiet --force "${STACK}_product-service" >/dev/null
  if [[ -n $(instances_at 2 product-service) ]]; then passed "products run on node 2 again: $(instances_at 2 product-service | wc -l) of 4"; else failed 'no product runs on node 2'; fi
}
all_on_node_1() { (($(instances_at 1 product-service | wc -l) >= 4)); }

main() {
  need_root
  need_tools tcpdump jq curl nsenter
  need_environment
  cd "$ROOT"
  answers 1 || die "no swarm runs; docker/swarm.sh up"
  [[ $1 != all && $1 != traffic ]] || verify_traffic
  [[ $1 != all && $1 != update ]] || verify_update
  [[ $1 != all && $1 != loss ]] || verify_loss
  echo
  ((FAILED == 0)) || die "not everything worked; the lines marked FAIL say what"
  say "${GREEN}all of it works${PLAIN}"
}

case ${1:-all} in
  all | traffic | update | loss) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
