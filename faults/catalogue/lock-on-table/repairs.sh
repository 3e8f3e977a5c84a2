# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_the_migration() {
  sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'migration'"
  rm -f /run/cnet/migration.pid
}
right_cancel_its_statement() {
  sql "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'migration'"
}

wrong_restart_the_client() { supervised restart "$PEER_NODE"; }
wrong_end_the_sessions_that_wait() {
  sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'"
}
