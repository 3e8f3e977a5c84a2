#!/usr/bin/env bash
# Redis, the product cache: in memory only, with a password; what is least used leaves first.
# Environment: SERVICE_IP, SERVICE_PORT, REDIS_PASSWORD, STATE_DIR.
set -euo pipefail

# By standard input, so that the password is in no file and no argument list.
exec redis-server - <<EOF
bind $SERVICE_IP
port $SERVICE_PORT
requirepass $REDIS_PASSWORD
dir $STATE_DIR
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
EOF
