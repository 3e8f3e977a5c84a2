# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_chain() {
  iptables -D FORWARD -d "$ADDRESS" -p tcp --syn -j "guard-$PORT" || : # the chain stays without it
  iptables -F "guard-$PORT"
  iptables -X "guard-$PORT"
}
right_return_all_from_the_chain() { iptables -I "guard-$PORT" 1 -j RETURN; }

# A crowd is larger.
wrong_raise_the_limit_a_little() { iptables -R "guard-$PORT" 1 -m limit --limit 10/second --limit-burst 5 -j RETURN; }
wrong_accept_behind_the_drop() { iptables -A "guard-$PORT" -j ACCEPT; }
