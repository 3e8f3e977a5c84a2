# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_bring_the_script_back() {
  remove_copy "$PROGRAM"
  supervised restart "$NODE"
}
right_bind_its_address() {
  # shellcheck disable=SC2016 # start.sh expands it
  sed -i 's/^bind .*/bind $SERVICE_IP/' "services/$PROGRAM/start.sh"
  supervised restart "$NODE"
}

wrong_restart_it() { supervised restart "$NODE"; }
# The check of policies sees it: the packets reach the namespace, and nobody is there.
wrong_restart_its_client() { supervised restart "$PEER_NODE"; }
