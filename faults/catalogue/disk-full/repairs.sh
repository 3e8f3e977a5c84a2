# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_file() { rm -f /var/opt/cnet/filler; }
right_empty_the_file() { : >/var/opt/cnet/filler; }

# It asks the same database, which still has no space.
wrong_restart_the_client() { supervised restart "$PEER_NODE"; }
wrong_flush_the_policy() { flush_policy; }
