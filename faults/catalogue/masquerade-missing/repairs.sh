# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_append_the_rule() {
  iptables -t nat -A CNET-POSTROUTING -s "$NETWORK" ! -o "$BRIDGE" \
    -m comment --comment "cnet: $BRIDGE: masquerade: outgoing traffic uses the address of the host" -j MASQUERADE
}
right_compare_with_the_table() { scripts/nat.sh up; }

# Traffic between nodes gets the host's address too: no node knows who calls.
wrong_masquerade_everything() { iptables -t nat -I POSTROUTING 1 -j MASQUERADE; }
# The outside has no route to the bridge's address either.
wrong_use_the_address_of_the_bridge() {
  iptables -t nat -A CNET-POSTROUTING -s "$NETWORK" ! -o "$BRIDGE" -j SNAT --to-source "$GATEWAY"
}
