# shellcheck shell=bash disable=SC2154 # variables of targets.py
pause() {
  while :; do
    # shellcheck disable=SC2046 # numbers
    kill -STOP $(pids_of "$NODE") || :
    sleep 0.8
    # shellcheck disable=SC2046 # numbers
    kill -CONT $(pids_of "$NODE") || :
    sleep 0.2
  done
}
pause </dev/null >/dev/null 2>&1 &
echo "$!" >/run/cnet/pause.pid
