# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$PEER_NAMESPACE" neigh replace "$ADDRESS" lladdr "$FREE_MAC" dev "$PEER_INTERFACE" nud permanent
