# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip neigh replace "$ADDRESS" lladdr "$FREE_MAC" dev "$BRIDGE" nud permanent
