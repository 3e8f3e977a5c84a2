# shellcheck shell=bash disable=SC2154 # variables of targets.py

# shellcheck disable=SC2046 # numbers
right_continue_it() { kill -CONT $(pids_of "$NODE"); }
# shellcheck disable=SC2046 # numbers
right_kill_it() { kill -KILL $(pids_of "$NODE"); }

# One address of several, and every other name still waits.
wrong_hard_code_one_address() { hard_code product-service.lab "$OTHER_ADDRESS"; }
wrong_wait_longer() {
  local file
  for file in /etc/netns/*/resolv.conf; do sed -i 's/timeout:1/timeout:3/' "$file"; done
}
