# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -N "guard-$PORT"
iptables -A "guard-$PORT" -m limit --limit 5/second --limit-burst 5 -j RETURN
iptables -A "guard-$PORT" -j DROP
iptables -I FORWARD 1 -d "$ADDRESS" -p tcp --syn -j "guard-$PORT"
