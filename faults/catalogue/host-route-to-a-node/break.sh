# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip route add "$ADDRESS" via "$UPLINK_GATEWAY"
