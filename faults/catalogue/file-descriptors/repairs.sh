# shellcheck shell=bash disable=SC2154 # variables of targets.py

# shellcheck disable=SC2016 # the shell of the container expands it
right_raise_the_limit() {
  scripts/contain.sh exec "$NODE" bash -c 'for pid in $(pgrep -x "nginx|redis-server"); do
    prlimit --pid "$pid" --nofile="$(prlimit --pid "$pid" --nofile --raw --noheadings --output HARD | xargs):"
  done'
}
right_restart_it() { supervised restart "$NODE"; }

# A limit belongs to a process; this is another one.
wrong_raise_the_limit_of_the_shell() { ulimit -S -n "$(ulimit -H -n)"; }
wrong_continue_it() { supervised signal CONT "$NODE"; }
