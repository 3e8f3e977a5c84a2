# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip link set "$PORT" nomaster
