# shellcheck shell=bash disable=SC2154 # variables of targets.py

# shellcheck disable=SC2046 # numbers
right_continue_it() { kill -CONT $(pids_of "$NODE"); }
# Only KILL reaches a stopped process; the supervisor then starts a new one.
# shellcheck disable=SC2046 # numbers
right_kill_it() { kill -KILL $(pids_of "$NODE"); }

# A stopped process handles this signal when it continues, and not before.
# shellcheck disable=SC2046 # numbers
wrong_ask_it_to_end() { kill -TERM $(pids_of "$NODE"); }
wrong_start_it_although_it_runs() { supervised start "$NODE"; }
