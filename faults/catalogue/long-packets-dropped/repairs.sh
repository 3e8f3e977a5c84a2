# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -t mangle -D PREROUTING -s "$ADDRESS" -p tcp -m length --length 1000:65535 -j DROP
}
right_load_the_chain_again() {
  iptables -t mangle -F PREROUTING
  scripts/nat.sh up
}

# Full segments have 1500 bytes.
wrong_allow_a_little_more() {
  iptables -t mangle -R PREROUTING 1 -s "$ADDRESS" -p tcp -m length --length 1400:65535 -j DROP
}
# The node still sends 1500 bytes, and what others send is lost now too.
wrong_lower_the_mtu_of_the_port() { ip link set "$PORT" mtu 1300; }
