# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -D CNET-POSTROUTING -s "$NETWORK" ! -o "$BRIDGE" \
  -m comment --comment "cnet: $BRIDGE: masquerade: outgoing traffic uses the address of the host" -j MASQUERADE
