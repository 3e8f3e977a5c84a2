# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t security -I "CNET-TO-$ADDRESS" 1 -s "$PEER_ADDRESS" -j ACCEPT
