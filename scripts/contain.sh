#!/usr/bin/env bash
# Run one service in its container: its own view of the system, its own user, then the program.
#
#   root on the host  ->  limits  ->  own namespaces  ->  own root  ->  own user, no capabilities  ->  program
#
#   scripts/contain.sh start NAMESPACE PROGRAM   (the supervisor runs this, with the service's environment)
#   scripts/contain.sh exec NODE COMMAND...      run a command in a node's container, as the service's user
#   scripts/contain.sh show NODE                 list what a running service can see and use
#   scripts/contain.sh help
#
# PROGRAM is a folder of services/: its start.sh, or its Flask app under gunicorn. scripts/lib/container.sh runs inside
# the new namespaces.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# shellcheck source=scripts/lib/limits.sh
source "$ROOT/scripts/lib/limits.sh"
# shellcheck source=scripts/lib/supervise.sh
source "$ROOT/scripts/lib/supervise.sh"

start() { # NAMESPACE PROGRAM
  export_secrets
  end_leftovers "$1"
  limit_self "$INSTANCE_ID" "$2"
  OWN_FOLDER=$STATE_DIR/nodes/$INSTANCE_ID
  install -d -m 700 -o "$SERVICE_USER" "$OWN_FOLDER"
  find "$OWN_FOLDER" ! -uid "$SERVICE_USER" -exec chown --no-dereference "$SERVICE_USER:$SERVICE_USER" {} +
  chown "$SERVICE_USER" /dev/stdout /dev/stderr # the supervisor's pipe, so that it can be opened as a file
  CAPABILITIES=$(capabilities)
  export OWN_FOLDER CAPABILITIES
  trap - EXIT
  exec setpriv --pdeathsig TERM nsenter --net="/run/netns/$1" \
    unshare --mount --ipc --uts --pid "$BASH" "$ROOT/scripts/lib/container.sh" "$ROOT" "$2" "$1"
}

# A container ends a moment after its parent was killed. Wait, because two PostgreSQL servers must not share files.
end_leftovers() { # NAMESPACE
  local pids
  mapfile -t pids < <(leftovers "$1")
  ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || :
  retry_until 10 no_leftovers "$1" ||
    die "$INSTANCE_ID: processes of its previous start do not end: $(leftovers "$1" | tr '\n' ' ')"
}
leftovers() { # NAMESPACE
  ip netns pids "$1" | xargs -r ps -o pid=,uid= -p | awk -v user="$SERVICE_USER" '$2 == user { print $1 }'
}
no_leftovers() { [[ -z $(leftovers "$1") ]]; }

# Enter the control groups of a process.
share_groups() { # PID
  local controllers path root
  while IFS=: read -r _ controllers path; do
    for root in "$CGROUPS/$controllers" "$CGROUPS"; do
      [[ $path != */cnet/* && $path != /cnet/* || ! -w $root$path/cgroup.procs ]] ||
        echo "$$" >"$root$path/cgroup.procs"
    done
  done <"/proc/$1/cgroup"
}

exec_in() { # NODE COMMAND...
  local pid user fd
  need_root
  pid=$(program_pid "$1") || die "$1 does not run; scripts/services.sh status"
  user=$(stat -c %u "$STATE_DIR/nodes/$1")
  share_groups "$pid"
  for fd in /proc/"$$"/fd/*; do # processes of the same user can open these files, for example the lock
    fd=${fd##*/}
    ((fd <= 2)) || exec {fd}>&-
  done
  local command=(nsenter --target "$pid" --mount --net --pid --ipc --uts
    env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/state LANG=C.UTF-8
    setsid setpriv --pdeathsig KILL --reuid "$user" --regid "$user" --clear-groups --no-new-privs
    --inh-caps -all --bounding-set -all -- "${@:2}")
  # Never pass on the terminal: a process with access to it can insert input for root's shell (TIOCSTI, ioctl_tty(2)).
  [[ ! -t 0 ]] || exec </dev/null
  if [[ -t 1 || -t 2 ]]; then
    { "${command[@]}" 2>&1 >&3 3>&- | cat >&2 3>&-; } 3>&1 | cat
    return
  fi
  trap - EXIT
  exec "${command[@]}"
}

# Only a store and its clients get the store's password: SECRETS has the names.
export_secrets() {
  local name
  for name in ${SECRETS:-}; do export "$name=$(secret "$name")"; done
}

# Only a port below 1024 needs a capability.
capabilities() {
  if ((SERVICE_PORT < 1024 || ${DNS_PORT:-1024} < 1024)); then echo -all,+net_bind_service; else echo -all; fi
}

show_container() { # NODE
  local pid
  need_root
  pid=$(program_pid "$1") || die "$1 does not run; scripts/services.sh status"
  awk '/^(Uid|Groups|Cap|NoNewPrivs|Seccomp:)/ { printf "%-12s %s %s\n", tolower($1), $2, $3 }' "/proc/$pid/status"
  echo "user's name  $(getent passwd "$(stat -c %u "$STATE_DIR/nodes/$1")" || echo "none on the host")"
  show_limits "$pid"
  (exec_in "$1" bash -c "$(declare -f list_view) && list_view")
}

list_view() { # as the service's user, in its container
  printf 'host name    %s\n' "$(</proc/sys/kernel/hostname)"
  printf 'sees         %s\n' "$(echo /* /services/*)"
  printf 'writes       %s\n' \
    "$(find / -path /proc -prune -o -writable ! -type l -print -prune 2>/dev/null | sort | paste -sd' ')"
  printf 'processes    %s\n' "$(ps -eo args= --sort pid | awk '!/^(bash -c|ps -eo|awk|paste) /' | paste -sd';')"
  printf 'listens      %s\n' "$(ss -Hlntu | awk '{ print $1 "/" $5 }' | sort | paste -sd' ')"
  printf 'unix sockets %s\n' "$(ss -Hlx | awk '{ print $5 }' | sort | paste -sd' ')"
  printf 'shared IPC   %s objects\n' "$(cat /proc/sysvipc/{msg,sem,shm} | grep -vc key)"
}

case ${1:-help} in
  start)
    (($# == 3)) || bad_usage "start needs a namespace and a program"
    "$@"
    ;;
  exec)
    (($# > 2)) || bad_usage "exec needs a node and a command"
    exec_in "${@:2}"
    ;;
  show)
    (($# == 2)) || bad_usage "show needs a node"
    show_container "$2"
    ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
