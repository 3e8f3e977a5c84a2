# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t security -F "CNET-TO-$ADDRESS"
