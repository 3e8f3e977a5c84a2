# shellcheck shell=bash disable=SC2154 # variables of targets.py
scripts/contain.sh exec "$NODE" \
  sed -i "s/$PEER_ADDRESS:$PEER_LISTENS /$PEER_ADDRESS:$WRONG_PORT /g" "/dev/shm/$NODE/nginx.conf"
scripts/contain.sh exec "$NODE" pkill -HUP -f 'nginx: master'
