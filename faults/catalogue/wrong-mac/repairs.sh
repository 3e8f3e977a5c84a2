# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_mac() { ip -n "$NAMESPACE" link set "$INTERFACE" address "$MAC"; }
right_compare_with_the_table() { scripts/network.sh up && scripts/services.sh up; }

wrong_tell_the_bridge_the_new_mac() { bridge fdb replace "$FREE_MAC" dev "$PORT" master static sticky; }
wrong_flush_the_policy() { flush_policy; }
