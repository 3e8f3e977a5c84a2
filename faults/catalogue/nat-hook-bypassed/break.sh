# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -I PREROUTING 1 -p tcp --dport "$PUBLISHED" -j ACCEPT
