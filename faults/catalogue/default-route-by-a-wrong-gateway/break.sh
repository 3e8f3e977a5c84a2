# shellcheck shell=bash disable=SC2154 # variables of targets.py
ip -n "$NAMESPACE" route replace default via "$FREE_ADDRESS"
