# shellcheck shell=bash disable=SC2154 # variables of targets.py
tc qdisc add dev "$PORT" root bfifo limit 1000
