# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" route add unreachable default table 100
ip -n "$NAMESPACE" rule add priority 100 to "$PEER_ADDRESS" lookup 100
