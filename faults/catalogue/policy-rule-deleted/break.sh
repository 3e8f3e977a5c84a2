# shellcheck shell=bash disable=SC2154 # variables of targets.py
number=$(iptables -t security -S "CNET-TO-$ADDRESS" | awk "/--dport $LISTENS / { print NR - 1; exit }")
iptables -t security -D "CNET-TO-$ADDRESS" "$number"
