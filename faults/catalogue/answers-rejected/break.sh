# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -I FORWARD 1 -s "$PEER_ADDRESS" -d "$ADDRESS" -p tcp --sport "$PEER_LISTENS" -j REJECT
