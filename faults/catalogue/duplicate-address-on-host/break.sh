# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip addr add "$ADDRESS/32" dev "$BRIDGE"
