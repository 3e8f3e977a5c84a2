# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_start_it() { supervised start "$NODE"; }
right_compare_with_the_table() { scripts/services.sh up; }

# signal needs a process
wrong_continue_it() { supervised signal CONT "$NODE"; }
wrong_read_the_configuration_again() { supervised update; }
