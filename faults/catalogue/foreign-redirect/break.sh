# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -I OUTPUT 1 -p tcp --dport "$PUBLISHED" -j REDIRECT --to-ports 3128
