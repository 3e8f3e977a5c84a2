# shellcheck shell=bash
# The stores' passwords, in a file that only root reads. A service gets those of its store in its environment. Sourced.

PASSWORDS=(REDIS_PASSWORD REDIS_OPERATOR_PASSWORD DB_PASSWORD)

# Print one password; nothing if it is missing or damaged.
secret() { sed -nE "s/^$1=([0-9a-f]{48})\$/\1/p" "$STATE_DIR/secrets" 2>/dev/null | tail -n 1 || :; }

# Create the passwords that are missing or damaged (a power loss can empty a file), and keep the others. The stores take
# a new password at their next start, so no data depends on an old one.
make_secrets() {
  local name password secrets=''
  install -d -m 755 "$STATE_DIR"
  for name in "${PASSWORDS[@]}"; do
    password=$(secret "$name")
    if [[ -z $password ]]; then
      [[ ! -e $STATE_DIR/secrets ]] || say "$STATE_DIR/secrets: $name is missing or damaged; made a new one"
      password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    fi
    secrets+="$name=$password"$'\n'
  done
  ! printf '%s' "$secrets" | cmp -s - "$STATE_DIR/secrets" || { chmod 600 "$STATE_DIR/secrets" && return; }
  (umask 077 && printf '%s' "$secrets" >"$STATE_DIR/secrets.new")
  sync "$STATE_DIR/secrets.new"
  mv "$STATE_DIR/secrets.new" "$STATE_DIR/secrets"
  sync "$STATE_DIR"
}

# Compare the passwords in a running service's environment with those in the file.
holds_secrets() { # NODE PID
  local name environment
  environment=$'\n'$(tr '\0' '\n' 2>/dev/null <"/proc/$2/environ")$'\n' || return 0 # the service has just ended
  for name in ${SECRETS_OF[${RUNS[$1]:--}]:-}; do
    [[ $environment != *$'\n'"$name="* || $environment == *$'\n'"$name=$(secret "$name")"$'\n'* ]] || return 1
  done
}
