# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_start_the_supervisor() {
  env -i PATH="$PATH" .venv/bin/supervisord -c /run/cnet/supervisord.conf </dev/null >/dev/null 2>&1
}
right_compare_with_the_table() { scripts/services.sh up; }

# There is nobody to tell.
wrong_tell_it_to_start_all() { supervised start all; }
wrong_build_the_network_again() { scripts/network.sh up; }
