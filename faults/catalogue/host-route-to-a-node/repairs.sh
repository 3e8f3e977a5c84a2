# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_route() { ip route del "$ADDRESS" via "$UPLINK_GATEWAY"; }
right_flush_all_routes_to_the_address() { ip route flush exact "$ADDRESS/32"; }

wrong_set_its_mac() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
wrong_accept_in_forward() { iptables -I FORWARD -d "$ADDRESS" -j ACCEPT; }
