# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_give_the_address_back() {
  ip -n "$NAMESPACE" addr del "$FREE_ADDRESS/${CIDR#*/}" dev "$INTERFACE"
  ip -n "$NAMESPACE" addr add "$CIDR" brd + dev "$INTERFACE"
  ip -n "$NAMESPACE" route replace default via "$GATEWAY"
}
right_compare_with_the_table() { scripts/network.sh up && scripts/services.sh up; }

wrong_tell_the_resolver_the_new_address() { hard_code "$NODE" "$FREE_ADDRESS"; }
wrong_restart_the_program() { supervised restart "$NODE"; } # it cannot listen on an address that is not there
