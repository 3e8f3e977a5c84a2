# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Who may register where: what the table runs at each address, in a file that the registry reads again when it changes
# (services/service-registry/owners.py). Sourced after supervise.sh.

OWNERS=owners.tsv # in the registry's own folder, which is all that it sees

owners() { # ADDRESS PORT PROGRAM LABEL of each node; a node without a program may register nothing
  local node port
  for node in "${NODES[@]}"; do
    port=$(port_of "$node")
    printf '%s\t%s\t%s\t%s\n' "${ADDRESS[$node]%/*}" "${port/#-/0}" "${RUNS[$node]}" "$(label "$node")"
  done
}

# Written beside the folder and moved there: the folder is the service's own, and might have a link in the file's place.
write_owners() {
  local node
  for node in $(nodes_running service-registry); do
    owners >"$STATE_DIR/owners.new"
    chmod 644 "$STATE_DIR/owners.new"
    mv -fT "$STATE_DIR/owners.new" "$STATE_DIR/nodes/$node/$OWNERS" ||
      die "cannot write $STATE_DIR/nodes/$node/$OWNERS, so the registry would refuse every instance; remove what is there"
  done
}
