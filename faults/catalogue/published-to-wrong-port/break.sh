# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -R CNET-PUBLISH 1 -p tcp \
  -m comment --comment "cnet: $NODE: forward port $PUBLISHED of the host to port $LISTENS of the node" \
  -m tcp --dport "$PUBLISHED" -j DNAT --to-destination "$ADDRESS:$((LISTENS + 1))"
