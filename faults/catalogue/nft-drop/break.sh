# shellcheck shell=bash disable=SC2154 # variables of targets.py
nft add table inet host_guard
nft 'add chain inet host_guard forward { type filter hook forward priority -10; }'
nft add rule inet host_guard forward ip saddr "$ADDRESS" ip daddr "$PEER_ADDRESS" drop
