# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" route add blackhole "$PEER_ADDRESS"
