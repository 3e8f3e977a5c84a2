# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_correct_the_port() {
  iptables -t nat -R CNET-PUBLISH 1 -p tcp \
    -m comment --comment "cnet: $NODE: forward port $PUBLISHED of the host to port $LISTENS of the node" \
    -m tcp --dport "$PUBLISHED" -j DNAT --to-destination "$ADDRESS:$LISTENS"
}
right_compare_with_the_table() { scripts/nat.sh up; }

# Nobody listens on that port.
wrong_open_the_other_port_in_the_policy() { iptables -t security -I CNET-FROM-WORLD 1 -d "$ADDRESS" -j RETURN; }
# curl on the host works then; visitors pass PREROUTING.
wrong_translate_for_the_host_alone() {
  iptables -t nat -I OUTPUT 1 -p tcp -d 127.0.0.1 --dport "$PUBLISHED" \
    -j DNAT --to-destination "$ADDRESS:$LISTENS"
}
