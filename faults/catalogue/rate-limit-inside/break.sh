# shellcheck shell=bash disable=SC2154 # variables of targets.py
tc -n "$NAMESPACE" qdisc add dev "$INTERFACE" root tbf rate 32kbit burst 1600 latency 2s
