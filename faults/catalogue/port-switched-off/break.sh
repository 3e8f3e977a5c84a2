# shellcheck shell=bash disable=SC2154 # variables of targets.py
bridge link set dev "$PORT" state 0
