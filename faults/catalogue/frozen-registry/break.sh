# shellcheck shell=bash disable=SC2154 # variables of targets.py
# shellcheck disable=SC2046 # numbers
kill -STOP $(pids_of "$NODE")
