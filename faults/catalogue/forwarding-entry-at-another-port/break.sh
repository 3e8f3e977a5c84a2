# shellcheck shell=bash disable=SC2154 # variables of targets.py
bridge fdb replace "$MAC" dev "$PEER_PORT" master static sticky
