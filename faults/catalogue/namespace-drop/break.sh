# shellcheck shell=bash disable=SC2154 # variables of targets.py
in_namespace "$NAMESPACE" iptables -A INPUT -p tcp --dport "$LISTENS" -j DROP
