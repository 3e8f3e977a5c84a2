# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_file() { rm -f "/etc/netns/$NAMESPACE/hosts"; }
right_remove_the_entry() { sed -i '/ product-service.lab$/d' "/etc/netns/$NAMESPACE/hosts"; }

# The namespace does not see the host's file.
wrong_add_the_name_on_the_host() { hard_code product-service.lab "$OTHER_ADDRESS"; }
wrong_restart_the_dns_server() { supervised restart "$PEER_NODE"; }
