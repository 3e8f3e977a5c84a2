# shellcheck shell=bash disable=SC2154 # variables of targets.py
private_copy "$PROGRAM"
sed -i '1a import no_such_module' "services/$PROGRAM/app.py"
supervised restart "$NODE"
