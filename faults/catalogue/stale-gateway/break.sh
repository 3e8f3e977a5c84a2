# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" neigh replace "$GATEWAY" lladdr "$FREE_MAC" dev "$INTERFACE" nud permanent
