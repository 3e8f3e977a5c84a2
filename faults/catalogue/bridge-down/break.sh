# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip link set "$BRIDGE" down
