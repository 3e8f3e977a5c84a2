# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -D CNET-POSTROUTING -s "$NETWORK" -d "$ADDRESS" -o "$BRIDGE" -p tcp \
  -m comment --comment "cnet: $NODE: hairpin: masquerade so that the reply returns through the host" \
  -m tcp --dport "$LISTENS" -m conntrack --ctstate DNAT -j MASQUERADE
