# shellcheck shell=bash disable=SC2154 # variables of targets.py
kill -KILL "$(cat /run/cnet/supervisord.pid)"
