# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip route add default via "$UPLINK_GATEWAY" table 5200
ip rule add priority 5200 to "$NETWORK" lookup 5200
