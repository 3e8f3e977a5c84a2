# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip addr del "$BRIDGE_CIDR" dev "$BRIDGE"
