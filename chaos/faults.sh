# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# What is done to the lab, and how it is undone: begin_FAULT NODE, end_FAULT NODE. Sourced after topology.sh.

pids_of() { ip netns pids "${NAMESPACE[$1]}"; } # NODE

signal_all() { # SIGNAL NODE; some may have ended meanwhile
  local pids
  mapfile -t pids < <(pids_of "$2")
  ((${#pids[@]} == 0)) || kill "-$1" "${pids[@]}" 2>/dev/null || :
}

begin_killed() { signal_all KILL "$1"; } # the supervisor starts it again
end_killed() { :; }

begin_stopped() { signal_all STOP "$1"; } # it hangs: connections are taken by the kernel and never answered
end_stopped() { signal_all CONT "$1"; }

begin_cut() { ip link set "${PORT[$1]}" down; } # no carrier; neighbours get no answer to ARP
end_cut() { ip link set "${PORT[$1]}" up; }

begin_blackholed() { nsenter --net="/run/netns/${NAMESPACE[$1]}" -- iptables -w -I INPUT -j DROP; } # packets vanish
end_blackholed() { nsenter --net="/run/netns/${NAMESPACE[$1]}" -- iptables -w -D INPUT -j DROP; }

begin_worker_killed() { # the youngest of a service's workers; the other one goes on
  local pids
  mapfile -t pids < <(pids_of "$1" | sort -n)
  kill -KILL "${pids[-1]}"
}
end_worker_killed() { :; }

# All instances of a program at once; they come back together.
begin_all_stopped() { # PROGRAM
  nodes_running "$1" | xargs -P 10 -I{} "$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" stop {}
}
end_all_stopped() { # returns when the first answers
  nodes_running "$1" | xargs -P 10 -I{} "$VENV/bin/supervisorctl" -c "$RUN_DIR/supervisord.conf" start {} &
  retry_until 20 any_answers "$1"
}
any_answers() {
  local node
  for node in $(nodes_running "$1"); do
    ! curl -fs -m 0.2 -o /dev/null "http://${ADDRESS[$node]%/*}:${LISTENS[$node]%%/*}/health" || return 0
  done
  return 1
}
