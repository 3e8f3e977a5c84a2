# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" addr del "$CIDR" dev "$INTERFACE"
ip -n "$NAMESPACE" addr add "$ADDRESS/30" brd + dev "$INTERFACE"
