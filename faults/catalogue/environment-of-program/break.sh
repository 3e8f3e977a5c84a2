# shellcheck shell=bash disable=SC2154 # variables of targets.py
sed -i "s/DB_PORT=\"$PEER_LISTENS\"/DB_PORT=\"$WRONG_PORT\"/" /run/cnet/supervisord.conf
supervised update
