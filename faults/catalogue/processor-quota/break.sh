# shellcheck shell=bash disable=SC2154 # variables of targets.py
quota "$NODE" 3000
