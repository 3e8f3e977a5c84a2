# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_password_of_the_file() {
  sql "ALTER ROLE orders PASSWORD '$(sed -n 's/^DB_PASSWORD=//p' /var/opt/cnet/secrets)'"
}
right_restart_the_store() { supervised restart "$NODE"; }

wrong_restart_the_client() { supervised restart "$PEER_NODE"; }
# A role without a password cannot log in where pg_hba.conf wants one.
wrong_remove_the_password() { sql "ALTER ROLE orders PASSWORD NULL"; }
