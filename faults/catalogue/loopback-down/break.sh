# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" link set lo down
