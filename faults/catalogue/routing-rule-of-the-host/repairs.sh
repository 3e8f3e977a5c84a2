# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule_and_its_table() {
  ip rule del priority 5200 to "$NETWORK" lookup 5200 || : # the route stays without it
  ip route del default via "$UPLINK_GATEWAY" table 5200
}
# The VPN keeps its rule, and the lab's network is looked up before it.
right_look_into_table_main_first() { ip rule add priority 5100 to "$NETWORK" lookup main; }

wrong_look_into_table_main_later() { ip rule add priority 5300 to "$NETWORK" lookup main; }
wrong_masquerade_to_the_nodes() { iptables -t nat -I POSTROUTING -o "$UPLINK" -d "$NETWORK" -j MASQUERADE; }
