# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_correct_the_port() {
  sed -i "s/DB_PORT=\"$WRONG_PORT\"/DB_PORT=\"$PEER_LISTENS\"/" /run/cnet/supervisord.conf
  supervised update
}
right_compare_with_the_table() { scripts/services.sh up; }

# The old environment again: the supervisor has not read the file.
wrong_correct_the_file_alone() {
  sed -i "s/DB_PORT=\"$WRONG_PORT\"/DB_PORT=\"$PEER_LISTENS\"/" /run/cnet/supervisord.conf
  supervised restart "$NODE"
}
wrong_restart_the_database() { supervised restart "$PEER_NODE"; }
