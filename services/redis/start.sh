#!/bin/sh
# Redis, the product cache: in memory only, with a password; it evicts the least used keys.
# Environment: SERVICE_IP, SERVICE_IP6 (optional), SERVICE_PORT, REDIS_PASSWORD (or a file with it),
# REDIS_OPERATOR_PASSWORD (optional), STATE_DIR. Plain sh, because Redis' image has no bash.
set -eu

password=${REDIS_PASSWORD:-$(cat /run/secrets/redis_password 2>/dev/null || :)}
case $password in
  '' | *[!0-9A-Za-z]*)
    echo "start.sh: REDIS_PASSWORD is empty or not letters and digits; in the lab \`make up\` makes a new one" >&2
    exit 1
    ;;
esac

# The user `operator` has all rights, for root on the host. No other service has its password.
operator=''
[ -z "${REDIS_OPERATOR_PASSWORD:-}" ] || operator="user operator on >$REDIS_OPERATOR_PASSWORD ~* &* +@all"

# Pass the configuration on standard input, so that the password is in no file and no argument list. Set no process
# title: it would overwrite the environment, where `up` checks for an old password.
# The product service sends only a password, so it is the default user: it may read and write the catalogue's keys and
# nothing else. SETEX is the only write command, because it always sets a lifetime.
exec redis-server - <<CONFIG
bind $SERVICE_IP${SERVICE_IP6:+ $SERVICE_IP6}
port $SERVICE_PORT
user default on >$password resetkeys ~all_products ~product_* resetchannels -@all +auth +ping +get +setex
$operator
set-proc-title no
dir $STATE_DIR
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
maxmemory-clients 16mb
maxclients 2000
timeout 300
tcp-keepalive 30
client-query-buffer-limit 1mb
client-output-buffer-limit normal 1mb 256kb 10
proto-max-bulk-len 1mb
CONFIG
