# shellcheck shell=bash disable=SC2154 # variables of targets.py
supervised stop "$NODE"
mkdir -p /run/cnet/empty # not a folder of the host: customers may reach the port
nsenter --net="/run/netns/$NAMESPACE" python3 -m http.server --directory /run/cnet/empty --bind "$ADDRESS" "$LISTENS" \
  </dev/null >/dev/null 2>&1 &
echo "$!" >/run/cnet/stranger.pid
sleep 1
supervised start "$NODE"
