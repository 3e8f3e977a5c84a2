# shellcheck shell=bash disable=SC2154 # variables of targets.py
private_copy "$PROGRAM"
sed -i 's/^bind .*/bind 127.0.0.1/' "services/$PROGRAM/start.sh"
supervised restart "$NODE"
