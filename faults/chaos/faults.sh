# shellcheck shell=bash disable=SC2153,SC2034 # maps of topology.sh; variables of run.sh
# The faults and their undoing: begin_FAULT NODE, end_FAULT NODE. Sourced after topology.sh.
# faults.tsv lists the faults, their nodes and the promises. An undo may run twice.
# Those that have an exercise are in catalogue.sh.

# shellcheck source=faults/chaos/catalogue.sh
source "$ROOT/faults/chaos/catalogue.sh"

pids_of() { ip netns pids "${NAMESPACE[$1]}"; } # NODE
supervisor() { "$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" "$@"; }
in_node() { nsenter --net="/run/netns/${NAMESPACE[$1]}" -- "${@:2}"; } # NODE COMMAND...
first_running() { nodes_running "$1" | sed -n 1p; }                    # PROGRAM
pause() { read -rt "$1" <> <(:) || :; }                                # SECONDS

signal_all() { # SIGNAL NODE; some may have ended meanwhile
  local pids
  mapfile -t pids < <(pids_of "$2")
  ((${#pids[@]} == 0)) || kill "-$1" "${pids[@]}" 2>/dev/null || :
}

begin_calm() { :; }
end_calm() { :; }

begin_killed() { signal_all KILL "$1"; } # the supervisor restarts the program
end_killed() { :; }

begin_worker_killed() { # the youngest of a service's workers; the other one goes on
  local pids
  mapfile -t pids < <(pids_of "$1" | sort -n)
  kill -KILL "${pids[-1]}"
}
end_worker_killed() { :; }

# --- the network --------------------------------------------------------------------------------

begin_blackholed() { in_node "$1" iptables -w -I INPUT -j DROP; } # drop all packets to the node
end_blackholed() { stop_dropping "$1" INPUT -j DROP; }

begin_one_way() { # the node receives the gateway's packets, the gateway none of the node's
  in_node "$(first_running api-gateway)" iptables -w -I INPUT -s "${ADDRESS[$1]%/*}" -j DROP
}
end_one_way() { stop_dropping "$(first_running api-gateway)" INPUT -s "${ADDRESS[$1]%/*}" -j DROP; }

stop_dropping() { # NODE RULE...
  ! in_node "$1" iptables -w -C "${@:2}" 2>/dev/null || in_node "$1" iptables -w -D "${@:2}"
}

begin_flapping() {
  while :; do
    ip link set "${PORT[$1]}" down
    pause 0.3
    ip link set "${PORT[$1]}" up
    pause 0.3
  done &
  BACKGROUND=$!
}
end_flapping() {
  end_background
  ip link set "${PORT[$1]}" up
}

end_background() {
  [[ -n ${BACKGROUND:-} ]] || return 0
  kill "$BACKGROUND" 2>/dev/null || :
  wait "$BACKGROUND" 2>/dev/null || :
  BACKGROUND=
}

# --- hostile peers ------------------------------------------------------------------------------

begin_slow() { replace_by_peer slow "$1"; }
end_slow() { restore_program "$1"; }
begin_dripping() { replace_by_peer dripping "$1"; }
end_dripping() { restore_program "$1"; }
begin_endless() { replace_by_peer endless "$1"; }
end_endless() { restore_program "$1"; }

replace_by_peer() { # MODE NODE
  local registry
  registry=$(first_running service-registry)
  stop_at_once "$2"
  (cd "$ROOT" && exec nsenter --net="/run/netns/${NAMESPACE[$2]}" -- \
    "$VENV/bin/python" -m faults.chaos.peers "$1" "${ADDRESS[$2]%/*}" \
    "${LISTENS[$2]%%/*}" "http://$(host_of "$registry"):${LISTENS[$registry]%%/*}" "${RUNS[$2]}" "${2,,}") &
  BACKGROUND=$!
}

# Freeze it first, so that it cannot deregister: the peer takes over its lease.
stop_at_once() { # NODE
  local stopper
  signal_all STOP "$1"
  supervisor stop "$1" &
  stopper=$!
  retry_until 5 is_stopping "$1" || :
  signal_all KILL "$1"
  wait "$stopper" || :
}
is_stopping() { [[ $(supervisor status "$1") == *STOP* ]]; }

restore_program() { # NODE: wait until the node answers
  end_background
  supervisor start "$1" &
}

# --- data ---------------------------------------------------------------------------------------

# The data's file system is a tmpfs of the sandbox: shrink it to the used size, and fill the rest.
begin_disk_full() {
  local used
  read -r DISK_KIB used < <(df --output=size,used -k "$STATE_DIR" | tail -1)
  mount -o "remount,size=$((used + 256))k" "$(stat -c %m "$STATE_DIR")"
  head -c 1M /dev/zero >"$STATE_DIR/filler" 2>/dev/null || :
}
end_disk_full() {
  mount -o "remount,size=${DISK_KIB}k" "$(stat -c %m "$STATE_DIR")"
  rm -f "$STATE_DIR/filler"
}

query_database() { # NODE SQL OPTION...; as the database's own user, over its local socket
  "$ROOT/scripts/contain.sh" exec "$1" psql -XAtq -F, -h /state -p "${LISTENS[$1]%%/*}" -d orders -c "${@:2}"
}

store_of_registry() { echo "$STATE_DIR/nodes/$(first_running service-registry)/registrations.json"; }

damage_store() { # zeros where the registrations were, as after a power cut
  local store size
  store=$(store_of_registry)
  [[ -s $store ]] || return 0
  size=$(stat -c %s "$store")
  truncate -s 0 "$store"
  truncate -s "$size" "$store"
}

begin_store_damaged() { # NODE deregisters and registers again, which the registry has to store
  damage_store
  supervisor restart "$1" &
}
end_store_damaged() { replace_damaged_store; }

begin_store_damaged_restart() {
  damage_store
  signal_all KILL "$1"
}
end_store_damaged_restart() { replace_damaged_store; }

# If the registry has not rebuilt its file, restart it without the file and report the broken promise.
replace_damaged_store() {
  local store
  store=$(store_of_registry)
  ! jq -e 'type == "array"' "$store" &>/dev/null || return 0
  broken "the registry's store was not rebuilt"
  rm -f "$store"
  signal_all KILL "$(first_running service-registry)"
}

# --- many at once -------------------------------------------------------------------------------

supervise_all() { # start|stop PROGRAM: on all nodes of the program
  nodes_running "$2" | xargs -P 10 -I{} "$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" "$1" {}
}
begin_all_stopped() { supervise_all stop "$1" || :; } # ignore an error for a node that is restarting
# Return when the first answers; the report judges whether that was in time.
end_all_stopped() {
  supervise_all start "$1" &
  retry_until 20 any_answers "$1" || :
}
any_answers() { # PROGRAM
  local node
  for node in $(nodes_running "$1"); do
    ! curl -fs -m 0.2 -o /dev/null "http://$(host_of "$node"):${LISTENS[$node]%%/*}/health" || return 0
  done
  return 1
}

begin_random() { # kill one service per second
  local nodes
  mapfile -t nodes < <(for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || echo "$node"; done)
  (
    RANDOM=$SEED
    while :; do
      signal_all KILL "${nodes[RANDOM % ${#nodes[@]}]}"
      pause 1
    done
  ) &
  BACKGROUND=$!
}
end_random() { end_background; }
