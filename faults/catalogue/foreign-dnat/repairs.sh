# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -t nat -D PREROUTING -p tcp --dport "$PUBLISHED" -j DNAT --to-destination "$PEER_ADDRESS:$PEER_LISTENS"
}
right_move_it_behind_the_hook() {
  right_delete_the_rule
  iptables -t nat -A PREROUTING -p tcp --dport "$PUBLISHED" -j DNAT --to-destination "$PEER_ADDRESS:$PEER_LISTENS"
}

# Visitors get $PEER_NODE then, past the gateway.
wrong_let_the_world_reach_the_other_node() { iptables -t security -I CNET-FROM-WORLD 1 -d "$PEER_ADDRESS" -j RETURN; }
# In FORWARD the port is translated already.
wrong_accept_the_port_in_forward() { iptables -I FORWARD 1 -p tcp --dport "$PUBLISHED" -j ACCEPT; }
