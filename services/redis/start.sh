#!/bin/sh
# Redis, the product cache: in memory only, with a password; what is least used leaves first.
# Environment: SERVICE_IP, SERVICE_PORT, REDIS_PASSWORD (or a file of that), STATE_DIR.
# Plain sh, for Redis' own image has no bash.
set -eu

password=${REDIS_PASSWORD:-$(cat /run/secrets/redis_password)}
# By standard input, so that the password is in no file and no argument list.
exec redis-server - <<EOF
bind $SERVICE_IP
port $SERVICE_PORT
requirepass $password
dir $STATE_DIR
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
EOF
