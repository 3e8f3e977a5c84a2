# shellcheck shell=bash disable=SC2154 # variables of targets.py
sysctl -qw "net.ipv4.conf.$PORT.arp_ignore=0" "net.ipv4.conf.$PORT.drop_unicast_in_l2_multicast=0"
