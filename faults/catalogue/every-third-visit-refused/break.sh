# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t nat -I OUTPUT 1 -p tcp --dport "$PUBLISHED" \
  -m statistic --mode nth --every 3 --packet 0 -j REDIRECT --to-ports 9
