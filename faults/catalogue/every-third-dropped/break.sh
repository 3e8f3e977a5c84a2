# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -I FORWARD 1 -d "$ADDRESS" -p tcp --syn -m statistic --mode nth --every 3 --packet 0 -j DROP
