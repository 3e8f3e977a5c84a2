# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_the_report() {
  pkill -F /run/cnet/report.pid -f report || : # the number may be of another program now
  rm -f /run/cnet/report.pid
}
right_restart_the_database() { supervised restart "$NODE"; }

wrong_restart_the_client() { supervised restart "$PEER_NODE"; }
# The places of the server are used up, not those of the role.
wrong_allow_the_role_more() { sql "ALTER ROLE orders CONNECTION LIMIT 50"; }
