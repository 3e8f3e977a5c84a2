# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_quota() { quota "$NODE" none; }
right_give_it_a_whole_processor() { quota "$NODE" -1; }

wrong_raise_its_priority() {
  local pid
  for pid in $(pids_of "$NODE"); do renice -n -10 -p "$pid"; done
}
wrong_give_it_a_little_more() { quota "$NODE" 4000; }
