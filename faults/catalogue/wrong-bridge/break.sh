# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip link add br-spare type bridge
ip link set br-spare up
ip link set "$PORT" master br-spare
