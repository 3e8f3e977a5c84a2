#!/usr/bin/env bash
# One service in its container: enters the namespace, gives up what it does not need, becomes the program.
#
#   root on the host  ->  the namespace's network  ->  own mounts  ->  own user, no capabilities  ->  program
#
#   scripts/contain.sh start NAMESPACE PROGRAM   (the supervisor runs this, with the service's environment)
#   scripts/contain.sh help
#
# PROGRAM is a folder of services/: its start.sh, or its Flask app under gunicorn.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CODE=$RUN_DIR/code # where a service sees the checkout: a home directory is closed to other users

start() { # NAMESPACE PROGRAM
  export_secrets "$2"
  install -d -m 700 -o "$SERVICE_USER" "$(own_directory)"
  chown -R "$SERVICE_USER" "$(own_directory)"
  chown "$SERVICE_USER" /dev/stdout /dev/stderr # the supervisor's pipe, so that it can be opened as a file
  trap - EXIT
  # `ip netns exec` also makes a private mount namespace, so what is mounted there is seen there alone.
  exec ip netns exec "$1" "$BASH" "$ROOT/scripts/contain.sh" inside "$2"
}

own_directory() { echo "$STATE_DIR/nodes/$INSTANCE_ID"; }

# Each store's password is given to the store and to its clients, to nobody else.
export_secrets() {
  local name
  for name in $(secrets_of "$1"); do export "$name=$(secret "$name")"; done
}

inside() { # PROGRAM
  mkdir -p "$CODE"
  mount --bind "$ROOT" "$CODE"
  mount -o remount,bind,ro "$CODE"
  cd "$CODE/services/$1"
  local command=(./start.sh)
  [[ -x start.sh ]] || command=("$CODE/.venv/bin/python" -m gunicorn -c gunicorn.conf.py 'app:create_app()')
  local unprivileged=(setpriv --reuid "$SERVICE_USER" --regid "$SERVICE_USER" --clear-groups --no-new-privs
    --inh-caps "$(capabilities)" --ambient-caps "$(capabilities)" --bounding-set "$(capabilities)")
  trap - EXIT
  # A child of nobody's: PostgreSQL takes one that it does not know and that is killed for a crash of its own.
  [[ -z ${HEARTBEAT:-} ]] || ("${unprivileged[@]}" python3 "$CODE/scripts/heartbeat.py" "$$" &)
  STATE_DIR=$(own_directory) HOME=$(own_directory) exec "${unprivileged[@]}" --pdeathsig TERM -- "${command[@]}"
}

# Only a port below 1024 takes a capability.
capabilities() { if ((SERVICE_PORT < 1024 || ${DNS_PORT:-1024} < 1024)); then echo -all,+net_bind_service; else echo -all; fi; }

case ${1:-help} in
  start | inside)
    (($# > 1)) || bad_usage "$1 needs a namespace and a program"
    "$@"
    ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
