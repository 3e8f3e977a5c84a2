# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$PEER_NAMESPACE" addr add "$ADDRESS/32" dev lo
