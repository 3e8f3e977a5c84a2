# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_entry() { ip neigh del "$ADDRESS" dev "$BRIDGE"; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flush_the_neighbours() { ip neigh flush dev "$BRIDGE"; } # all but permanent ones
wrong_translate_again() { scripts/nat.sh up; }
