# shellcheck shell=bash disable=SC2154 # variables of targets.py
kill -STOP "$(cat /run/cnet/supervisord.pid)"
# shellcheck disable=SC2046 # numbers
kill -KILL $(pids_of "$NODE")
