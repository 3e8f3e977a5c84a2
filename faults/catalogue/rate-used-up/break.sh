# shellcheck shell=bash disable=SC2154 # variables of targets.py
# A script that asks whether the gateway is there, twenty times a second.
setsid ip netns exec "$NAMESPACE" python3 -c '
import socket, sys, time
while True:
    asked = socket.socket()
    asked.setblocking(False)
    asked.connect_ex((sys.argv[1], int(sys.argv[2])))
    time.sleep(0.05)
    asked.close()
' "$PEER_ADDRESS" "$PEER_LISTENS" </dev/null &>/dev/null &
echo "$!" >/run/cnet/poller
