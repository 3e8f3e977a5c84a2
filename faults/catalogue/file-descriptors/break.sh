# shellcheck shell=bash disable=SC2154 # variables of targets.py
# shellcheck disable=SC2016 # the shell of the container expands it
scripts/contain.sh exec "$NODE" \
  bash -c 'for pid in $(pgrep -x "nginx|redis-server"); do prlimit --pid "$pid" --nofile=4:; done'
