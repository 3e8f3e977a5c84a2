# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_entries() {
  conntrack -D -p udp --orig-src "$ADDRESS" --orig-dst "$PEER_ADDRESS" --dport 53 &>/dev/null || :
}
# Open connections go on: conntrack picks them up with their next packet.
right_forget_all_connections() { conntrack -F &>/dev/null; }

# Rules of table nat decide on new connections alone.
wrong_forbid_the_translation() { iptables -t nat -I PREROUTING 1 -p udp -d "$PEER_ADDRESS" --dport 53 -j ACCEPT; }
wrong_restart_the_registry() { supervised restart "$PEER_NODE"; }
wrong_hard_code_the_name() { hard_code product-service.lab "$OTHER_ADDRESS"; }
