#!/usr/bin/env bash
# Bring a lab into healthy states, chosen at random, one after the other: diagnose must have no finding in any.
#
#   tests/lab/healthy_states.sh COUNT SEED   in one sandbox: a line for each state, then a summary; 1 if any finding
#   tests/lab/healthy_states.sh help
#
# A state is what went before, and one more step: more or fewer instances, tiers or flat, load or none, the host's rules
# as Docker or ufw load them, the policy loaded again, a part of the lab brought up again, the proof, a verify.
# The same seed gives the same steps.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=tests/bats/inside.bash
source "$ROOT/tests/bats/inside.bash"

STEPS=(scale_products scale_orders move load_begins load_ends docker_rules ufw_rules no_host_rules
  restart_service prove verify up_again policy_again)
LOG=/run/healthy.log LOAD='' TABLE_NAME=flat HOST_RULES=none

scale_products() { "$ROOT/scripts/scale.sh" product-service $((RANDOM % 4 + 2)); }
scale_orders() { "$ROOT/scripts/scale.sh" order-service $((RANDOM % 3 + 1)); }
move() { # to the tiers, or back; without the proof, which has tests of its own
  if [[ $TABLE_NAME == flat ]]; then TABLE_NAME=tiers; else TABLE_NAME=flat; fi
  "$ROOT/scripts/lab.sh" down && TOPOLOGY=$TABLE_NAME converge
}
load_begins() {
  [[ -z $LOAD ]] || return 0
  while :; do
    for _ in {1..20}; do curl -s -m 2 -o /dev/null http://localhost:8080/api/products & done
    curl -s -m 2 -o /dev/null -H 'Content-Type: application/json' http://localhost:8080/api/orders \
      -d '{"customer_id":"load","product_id":"2","quantity":1,"total_price":29.99}'
    wait
  done &>/dev/null &
  LOAD=$!
  defer load_ends
}
load_ends() {
  [[ -z $LOAD ]] || kill "$LOAD" 2>/dev/null || :
  LOAD=''
}

# The rules that Docker loads, with a published port of a container; its bridge and addresses are not the lab's.
docker_rules() {
  [[ $HOST_RULES == none ]] || return 0
  HOST_RULES=docker
  ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
  iptables-restore --noflush <<'RULES'
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9443 -j DNAT --to-destination 172.17.0.2:443
COMMIT
*filter
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-USER -j RETURN
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
COMMIT
RULES
  "$ROOT/security/policy.sh" up && "$ROOT/scripts/nat.sh" up # as `make up` does after Docker started
}

# As `ufw enable` loads them, with SSH and the published port allowed.
ufw_rules() {
  [[ $HOST_RULES == none ]] || return 0
  HOST_RULES=ufw
  iptables-restore --noflush <<'RULES'
*filter
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
:ufw-reject-input - [0:0]
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-reject-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 8080 -j ACCEPT
COMMIT
RULES
  "$ROOT/security/policy.sh" up && "$ROOT/scripts/nat.sh" up
}

no_host_rules() {
  local table rule chain chains
  [[ $HOST_RULES != none ]] || return 0
  iptables -P INPUT ACCEPT && iptables -P FORWARD ACCEPT
  for table in filter nat; do
    iptables-save -t "$table" | sed -nE '/^-A (INPUT|FORWARD|PREROUTING|OUTPUT|POSTROUTING) /{ /CNET-/!s/^-A/-D/p }' |
      while read -r rule; do eval "iptables -t $table $rule"; done
    mapfile -t chains < <(iptables-save -t "$table" | sed -nE 's/^:((ufw|DOCKER)[^ ]*).*/\1/p')
    for chain in "${chains[@]}"; do iptables -t "$table" -F "$chain"; done
    for chain in "${chains[@]}"; do iptables -t "$table" -X "$chain"; done
  done
  ip link del docker0 2>/dev/null || :
  HOST_RULES=none
  "$ROOT/security/policy.sh" up && "$ROOT/scripts/nat.sh" up
}

restart_service() {
  local names
  mapfile -t names < <("$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" status | awk '{ print $1 }')
  "$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" restart "${names[RANDOM % ${#names[@]}]}"
  "$ROOT/scripts/services.sh" up # waits until it is ready
}
prove() { "$ROOT/security/prove.sh"; }
verify() { "$ROOT/scripts/verify.sh" services; }
up_again() { converge; }
policy_again() { "$ROOT/security/policy.sh" down && "$ROOT/security/policy.sh" up; }

diagnose_state() { # NUMBER STEP: print its line; return 1 if diagnose has a finding
  local found
  found=$("$ROOT/scripts/diagnose.sh" run --json 2>>"$LOG") || :
  printf '%3d %-16s %-5s load %-3s host rules %-6s ' "$1" "$2" "$TABLE_NAME" "${LOAD:+yes}" "$HOST_RULES"
  jq -r '"\(.findings | length) findings (\(.seconds) s)",
    (.findings[] | "      \(.kind) \(.object) \(.place): \(.cause)")' <<<"$found"
  jq -e '.findings == []' <<<"$found" >/dev/null
}

inside() { # COUNT SEED
  local number step failures=0
  RANDOM=$2
  mount -t tmpfs -o size=600m tmpfs /var/opt
  converge &>"$LOG" || { cat "$LOG" && exit 1; }
  for ((number = 1; number <= $1; number++)); do
    step=${STEPS[RANDOM % ${#STEPS[@]}]}
    "$step" &>"$LOG" || { echo "step $step failed:" && tail -n 20 "$LOG" && ((++failures)); }
    diagnose_state "$number" "$step" || ((++failures))
  done
  echo "$1 states, $failures failures"
  return $((failures > 0))
}

case ${1:-help} in
  inside) inside "$2" "$3" ;; # internal: runs in the sandbox
  help) print_help ;;
  *)
    [[ $1 =~ ^[0-9]+$ && ${2:-} =~ ^[0-9]+$ ]] || bad_usage "COUNT and SEED are numbers"
    trap - EXIT
    exec "$ROOT/scripts/sandbox.sh" run "$0" inside "$1" "$2"
    ;;
esac
