# shellcheck shell=bash disable=SC2154 # variables of targets.py
in_namespace "$NAMESPACE" nft add table ip guard
in_namespace "$NAMESPACE" nft 'add chain ip guard output { type filter hook output priority 0; }'
in_namespace "$NAMESPACE" nft add rule ip guard output udp dport 53 drop
