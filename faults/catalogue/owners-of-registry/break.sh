# shellcheck shell=bash disable=SC2154 # variables of targets.py
sed -i "/^$ADDRESS\\t/s/$NODE$/$NODE-old/" "/var/opt/cnet/nodes/$PEER_NODE/owners.tsv"
supervised restart "$PEER_NODE"
