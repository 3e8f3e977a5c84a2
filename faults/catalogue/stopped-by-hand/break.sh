# shellcheck shell=bash disable=SC2154 # variables of targets.py
supervised stop "$NODE"
