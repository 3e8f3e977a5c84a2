# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t mangle -I POSTROUTING 1 -s "$ADDRESS" -p tcp --sport "$LISTENS" \
  -m statistic --mode random --probability 0.5 -j DROP
