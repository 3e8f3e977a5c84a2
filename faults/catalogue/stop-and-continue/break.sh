# shellcheck shell=bash disable=SC2154 # variables of targets.py
pause() {
  while [[ -e /run/cnet/pause.pid ]]; do # until the lab is down, at the latest
    # shellcheck disable=SC2046 # numbers
    kill -STOP $(pids_of "$NODE") || :
    sleep 0.8
    # shellcheck disable=SC2046 # numbers
    kill -CONT $(pids_of "$NODE") || :
    sleep 0.2
  done
}
touch /run/cnet/pause.pid
pause </dev/null >/dev/null 2>&1 &
echo "$!" >/run/cnet/pause.pid
