# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_reset_the_setting() {
  sql "ALTER SYSTEM RESET default_transaction_read_only"
  sql "SELECT pg_reload_conf()"
}
right_remove_it_from_the_file() {
  scripts/contain.sh exec "$NODE" sh -c 'sed -i /default_transaction_read_only/d /state/*/postgresql.auto.conf'
  sql "SELECT pg_reload_conf()"
}

# The setting is in a file that the server reads at its start.
wrong_restart_the_database() { supervised restart "$NODE"; }
wrong_restart_the_client() { supervised restart "$PEER_NODE"; }
