# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_what_stops_it() {
  pkill -F /run/cnet/pause.pid -f commands.sh || : # the number may be of another program now
  rm -f /run/cnet/pause.pid
  sleep 1 # the rest of its last pause
  # shellcheck disable=SC2046 # numbers
  kill -CONT $(pids_of "$NODE")
}
right_end_it_and_restart_the_program() {
  kill "$(cat /run/cnet/pause.pid)"
  # shellcheck disable=SC2046 # numbers
  kill -KILL $(pids_of "$NODE")
}

# It is stopped again a moment later.
# shellcheck disable=SC2046 # numbers
wrong_continue_it_once() { kill -CONT $(pids_of "$NODE"); }
# shellcheck disable=SC2046 # numbers
wrong_kill_the_program_alone() { kill -KILL $(pids_of "$NODE"); }
