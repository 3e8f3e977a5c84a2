# shellcheck shell=bash disable=SC2154 # variables of targets.py
bridge fdb del "$MAC" dev "$PORT" master
