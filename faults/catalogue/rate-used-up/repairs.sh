# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_the_script() {
  pkill -F /run/cnet/poller -f connect_ex || : # the number may be of another program now
  rm -f /run/cnet/poller
}
right_end_what_opens_the_connections() {
  local pid=''
  until [[ -n $pid ]]; do
    pid=$(in_namespace "$NAMESPACE" ss -Htnp "dport = :$PEER_LISTENS" | sed -nE 's/.*pid=([0-9]+).*/\1/p' | sed -n 1p)
  done
  kill "$pid"
}

# Every port of the gateway is open to it then.
wrong_accept_all_of_this_node() { iptables -t security -I "CNET-TO-$PEER_ADDRESS" 1 -s "$ADDRESS" -j RETURN; }
wrong_restart_the_gateway() { supervised restart "$PEER_NODE"; }
