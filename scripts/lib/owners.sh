# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Write the names that may register at each address, from the table, to a file that the registry reloads on a change
# (services/service-registry/owners.py). Sourced after supervise.sh.

OWNERS=owners.tsv # in the registry's folder, the only one in its container

# Print ADDRESS PORT PROGRAM LABEL of each address of each node; a node without a program may register nothing.
owners() {
  local node port address
  for node in "${NODES[@]}"; do
    port=$(port_of "$node")
    for address in $(addresses_of "$node"); do
      printf '%s\t%s\t%s\t%s\n' "$address" "${port/#-/0}" "${RUNS[$node]}" "${LABEL[$node]}"
    done
  done
}

# The service owns the folder and may have put a link or a folder in the file's place. So write outside, then rename.
write_owners() {
  local node file text new=$STATE_DIR/owners.new
  text=$(owners)
  for node in $(nodes_running service-registry); do
    file=$STATE_DIR/nodes/$node/$OWNERS
    [[ ! -f $file || -L $file || $(<"$file") != "$text" ]] || continue # the disk may be full
    [[ ! -d $file || -L $file ]] || run rm -rf --one-file-system "$file"
    { echo "$text" >"$new" && chmod 644 "$new" && mv -fT "$new" "$file"; } 2>/dev/null || {
      rm -f "$new"
      die "cannot write $file: $(df -h --output=avail "$STATE_DIR" | tail -1 | tr -d ' ') are free; free some" \
        "space, then run it again"
    }
  done
}
