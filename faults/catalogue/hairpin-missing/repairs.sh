# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_insert_the_rule_at_the_top() {
  iptables -t nat -I CNET-POSTROUTING 1 -s "$NETWORK" -d "$ADDRESS" -o "$BRIDGE" -p tcp \
    -m comment --comment "cnet: $NODE: hairpin: masquerade so that the reply returns through the host" \
    -m tcp --dport "$LISTENS" -m conntrack --ctstate DNAT -j MASQUERADE
}
right_compare_with_the_table() { scripts/nat.sh up; }

# The rule that keeps the source address of packets to nodes decides first.
wrong_append_it_at_the_end() {
  iptables -t nat -A CNET-POSTROUTING -s "$NETWORK" -d "$ADDRESS" -o "$BRIDGE" -p tcp \
    -m comment --comment "cnet: $NODE: hairpin: masquerade so that the reply returns through the host" \
    -m tcp --dport "$LISTENS" -m conntrack --ctstate DNAT -j MASQUERADE
}
# The log shows one visitor then: the host.
wrong_hide_all_visitors() { iptables -t nat -I POSTROUTING 1 -o "$BRIDGE" -j MASQUERADE; }
