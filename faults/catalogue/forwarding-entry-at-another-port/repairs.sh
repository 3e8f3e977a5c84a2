# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_move_the_entry_back() { bridge fdb replace "$MAC" dev "$PORT" master static sticky; }
right_compare_with_the_table() { scripts/network.sh up; }

# Without an entry and without flooding, the bridge drops the frames.
wrong_delete_the_entry() { bridge fdb del "$MAC" dev "$PEER_PORT" master; }
# An entry is known: nothing is flooded.
wrong_flood_to_the_port() { bridge link set dev "$PORT" flood on; }
