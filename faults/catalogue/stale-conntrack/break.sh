# shellcheck shell=bash disable=SC2154 # variables of targets.py
# The table of connections was saved when the registry had another address, and is loaded again.
conntrack -D -p udp --orig-src "$ADDRESS" --orig-dst "$PEER_ADDRESS" --dport 53 &>/dev/null || :
for port in $(seq 32768 60999); do
  echo "-I -t 86400 -u SEEN_REPLY -p udp -s $ADDRESS -d $PEER_ADDRESS --sport $port --dport 53" \
    "--dst-nat $OTHER_ADDRESS:53"
done >/run/cnet/connections
conntrack -R /run/cnet/connections 2>/dev/null || :
rm /run/cnet/connections
