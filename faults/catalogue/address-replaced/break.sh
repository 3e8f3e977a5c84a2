# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" addr del "$CIDR" dev "$INTERFACE"
ip -n "$NAMESPACE" addr add "$FREE_ADDRESS/${CIDR#*/}" brd + dev "$INTERFACE"
ip -n "$NAMESPACE" route replace default via "$GATEWAY"
