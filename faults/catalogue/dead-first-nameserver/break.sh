# shellcheck shell=bash disable=SC2154 # variables of targets.py
sed -i -e "s/^nameserver /nameserver $GATEWAY\\n&/" -e 's/^options/# options/' "/etc/netns/$NAMESPACE/resolv.conf"
