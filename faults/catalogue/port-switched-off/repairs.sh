# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_state_to_forwarding() { bridge link set dev "$PORT" state 3; }
# The bridge chooses the state anew when the link comes up.
right_set_the_port_down_and_up() {
  ip link set "$PORT" down
  ip link set "$PORT" up
  ip -n "$NAMESPACE" route replace default via "$GATEWAY"
}

wrong_let_the_port_learn_and_flood() { bridge link set dev "$PORT" learning on flood on; }
wrong_set_its_mac_on_the_host() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
