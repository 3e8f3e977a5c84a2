# shellcheck shell=bash disable=SC2154 # variables of targets.py
redis_as_operator() { # COMMAND...
  redis-cli -h "$ADDRESS" -p "$LISTENS" --no-auth-warning --user operator \
    --pass "$(sed -n 's/^REDIS_OPERATOR_PASSWORD=//p' /var/opt/cnet/secrets)" "$@"
}
redis_as_operator ACL SETUSER default resetpass '>another'
redis_as_operator CLIENT KILL TYPE normal SKIPME yes
