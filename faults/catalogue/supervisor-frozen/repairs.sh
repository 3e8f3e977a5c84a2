# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_continue_the_supervisor() { kill -CONT "$(cat /run/cnet/supervisord.pid)"; }
right_start_a_new_one() {
  kill -KILL "$(cat /run/cnet/supervisord.pid)"
  scripts/services.sh up
}

# It handles this signal when it continues, and not before.
wrong_ask_it_to_read_its_file_again() { kill -HUP "$(cat /run/cnet/supervisord.pid)"; }
wrong_build_the_network_again() { scripts/network.sh up; }
