# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_correct_the_port() {
  scripts/contain.sh exec "$NODE" \
    sed -i "s/$PEER_ADDRESS:$WRONG_PORT /$PEER_ADDRESS:$PEER_LISTENS /g" "/dev/shm/$NODE/nginx.conf"
  scripts/contain.sh exec "$NODE" pkill -HUP -f 'nginx: master'
}
right_write_it_from_the_template() { supervised restart "$NODE"; }

wrong_restart_the_service_behind_it() { supervised restart "$PEER_NODE"; }
wrong_read_the_same_file_again() { scripts/contain.sh exec "$NODE" pkill -HUP -f 'nginx: master'; }
