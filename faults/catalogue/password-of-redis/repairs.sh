# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_password_of_the_file() {
  redis-cli -h "$ADDRESS" -p "$LISTENS" --no-auth-warning --user operator \
    --pass "$(sed -n 's/^REDIS_OPERATOR_PASSWORD=//p' /var/opt/cnet/secrets)" \
    ACL SETUSER default resetpass ">$(sed -n 's/^REDIS_PASSWORD=//p' /var/opt/cnet/secrets)"
}
right_restart_the_store() { supervised restart "$NODE"; }

wrong_restart_a_client() { supervised restart "$PEER_NODE"; }
# Clients send a password, and a user without one who exists is not the one they need.
wrong_add_another_user() {
  redis-cli -h "$ADDRESS" -p "$LISTENS" --no-auth-warning --user operator \
    --pass "$(sed -n 's/^REDIS_OPERATOR_PASSWORD=//p' /var/opt/cnet/secrets)" ACL SETUSER guest on nopass '~*' +@read
}
