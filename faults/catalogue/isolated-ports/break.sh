# shellcheck shell=bash disable=SC2154 # variables of targets.py
bridge link set dev "$PORT" isolated on
bridge link set dev "$PEER_PORT" isolated on
