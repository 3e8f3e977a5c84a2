# shellcheck shell=bash disable=SC2154 # variables of targets.py
ebtables -A FORWARD -p ARP --arp-ip-src "$ADDRESS" -j DROP
for name in $(ip netns list | awk '{ print $1 }'); do ip -n "$name" neigh flush all || :; done # a minute passes
