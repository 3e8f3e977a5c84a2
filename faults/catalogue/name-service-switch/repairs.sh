# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_file() { rm -f "/etc/netns/$NAMESPACE/nsswitch.conf"; }
right_ask_dns_after_files() { sed -i 's/^hosts:.*/hosts: files dns/' "/etc/netns/$NAMESPACE/nsswitch.conf"; }

# The file of the host is right, and not the one that the namespace sees.
wrong_change_the_file_of_the_host() { sed -i 's/^hosts:.*/hosts: dns files/' /etc/nsswitch.conf; }
wrong_add_a_nameserver() { echo "nameserver $PEER_ADDRESS" >>"/etc/netns/$NAMESPACE/resolv.conf"; }
