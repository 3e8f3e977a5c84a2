# shellcheck shell=bash disable=SC2154 # variables of targets.py
sed -i "s/^nameserver .*/nameserver $FREE_ADDRESS/" "/etc/netns/$NAMESPACE/resolv.conf"
