# shellcheck shell=bash disable=SC2034,SC2153 # variables of run.sh
# The contenders of the network benchmark: prepare, up and down of each. Sourced by run.sh, which sets NODES, their
# number, and WORK, a folder of their own.

namespaces() { seq -f 'node%.0f' "$NODES"; }

# Print a table with the addresses of the families in GATEWAYS; a column that it does not need is -.
make_table() {
  local n four=- six=- gateways=" ${GATEWAYS[*]} "
  [[ $gateways != *" $GATEWAY "* ]] || four=$GATEWAY
  [[ $gateways != *" $GATEWAY6 "* ]] || six=$GATEWAY6
  printf '%s\t' kind name namespace address address6 interface bridge_interface bridge listens publishes
  echo runs
  printf 'bridge\t%s\t-\t%s\t%s\t-\t-\t-\t-\t-\t-\n' "$BRIDGE" "$four" "$six"
  for ((n = 1; n <= NODES; n++)); do
    [[ $four == - ]] || printf -v four '10.99.%d.%d/16' $((n / 250)) $((n % 250 + 2))
    [[ $six == - ]] || printf -v six 'fd00:99::%x/64' $((n + 1))
    printf 'node\tn%d\tnode%d\t%s\t%s\teth0\tport%d\t%s\t-\t-\t-\n' $n $n "$four" "$six" $n "$BRIDGE"
  done
}

GATEWAYS=("$GATEWAY")
prepare_lab() { make_table >"$WORK/table.tsv" && export TOPOLOGY=$WORK/table.tsv; }
up_lab() { "$ROOT/scripts/network.sh" up >/dev/null; }
down_lab() { "$ROOT/scripts/network.sh" down >/dev/null; }

prepare_dual() { GATEWAYS=("$GATEWAY" "$GATEWAY6") && prepare_lab; }
up_dual() { up_lab; }
down_dual() { down_lab; }

prepare_ipv6() { GATEWAYS=("$GATEWAY6") && prepare_lab; }
up_ipv6() { up_lab; }
down_ipv6() { down_lab; }

prepare_batch() { # the lab's commands, without the "+ "
  prepare_lab
  mkdir "$WORK/inside"
  DRY_RUN=1 "$ROOT/scripts/network.sh" up | sed 's/^+ //' >"$WORK/commands"
  sed -n 's/^ip \([^-]\)/\1/p' "$WORK/commands" >"$WORK/host"
  sed -n 's/^bridge //p' "$WORK/commands" >"$WORK/forwarding"
  sed -n 's/^sysctl -qw //p' "$WORK/commands" >"$WORK/sysctls"
  awk -v to="$WORK/inside/" '/^ip -n / { file = to $3; sub(/^ip -n [^ ]+ /, ""); print >>file; close(file) }' \
    "$WORK/commands"
  { awk '/^netns add/ { print "netns del " $3 }' "$WORK/host" && echo "link del group $LINK_GROUP"; } >"$WORK/removal"
}
up_batch() {
  local namespace
  ip -batch "$WORK/host"
  xargs sysctl -qw <"$WORK/sysctls"
  bridge -batch "$WORK/forwarding"
  for namespace in $(namespaces); do ip -n "$namespace" -batch "$WORK/inside/$namespace"; done
}
down_batch() { ip -batch "$WORK/removal"; }

prepare_single() {
  prepare_batch
  cp "$WORK/commands" "$WORK/up.sh"
  sed 's/^/ip /' "$WORK/removal" >"$WORK/down.sh"
}
up_single() { bash -e "$WORK/up.sh"; }
down_single() { bash -e "$WORK/down.sh"; }

prepare_cni() {
  export CNI_PATH=$CNI_PLUGINS CNI_IFNAME=eth0
  cat >"$WORK/cni.json" <<END
{"cniVersion": "0.4.0", "name": "bench", "type": "bridge", "bridge": "$BRIDGE", "isDefaultGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$WORK/leases", "subnet": "${GATEWAY%.*}.0/${GATEWAY#*/}",
  "gateway": "${GATEWAY%/*}"}}
END
}
run_cni() {
  local namespace
  for namespace in $(namespaces); do
    CNI_COMMAND=$1 CNI_CONTAINERID=$namespace CNI_NETNS=/run/netns/$namespace \
      "$CNI_PLUGINS/bridge" <"$WORK/cni.json" >"$WORK/answer" ||
      die "CNI $1 of $namespace: $(<"$WORK/answer")"
  done
}
up_cni() { namespaces | sed 's/^/netns add /' | ip -batch - && run_cni ADD; }
down_cni() { run_cni DEL && { namespaces | sed 's/^/netns del /' && echo "link del dev $BRIDGE"; } | ip -batch -; }
