# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The lab in a sandbox, for a run under load. Sourced after topology.sh.

run_in_sandbox() { # up|dev COMMAND...: after scripts/install.sh up or dev
  "$ROOT/scripts/install.sh" "$1" >&2
  trap - EXIT
  exec "$ROOT/scripts/sandbox.sh" run "${@:2}"
}

start_lab() { # runs in the sandbox
  say "the lab comes up"
  "$ROOT/security/policy.sh" up >/dev/null
  "$ROOT/scripts/network.sh" up >/dev/null
  "$ROOT/scripts/nat.sh" up >/dev/null
  "$ROOT/scripts/services.sh" up &>/dev/null
  load_topology
  read -rt 6 <> <(:) || : # after the gateway's first seconds new instances start slowly
}

published() { # URL of the way in
  local node
  node=$(nodes_running nginx | sed -n 1p)
  echo "http://$(entry_host "$node"):${PUBLISHES[$node]%%:*}"
}
