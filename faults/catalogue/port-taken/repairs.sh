# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_the_other_program() {
  pkill -F /run/cnet/stranger.pid -f http.server || : # the number may be of another program now
  rm -f /run/cnet/stranger.pid
}
right_end_whoever_has_the_port_and_restart() {
  kill "$(in_namespace "$NAMESPACE" ss -Hlntp "src $ADDRESS:$LISTENS" | sed 's/.*pid=//; s/,.*//')"
  supervised restart "$NODE"
}

wrong_restart_it() { supervised restart "$NODE"; }
wrong_compare_with_the_network_table() { scripts/network.sh up; }
