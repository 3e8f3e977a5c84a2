# shellcheck shell=bash disable=SC2154 # variables of targets.py
printf '127.0.0.1 localhost\n%s product-service.lab\n' "$FREE_ADDRESS" >"/etc/netns/$NAMESPACE/hosts"
