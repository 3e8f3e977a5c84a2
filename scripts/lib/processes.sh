# shellcheck shell=bash
# Find and end processes of the lab: programs that watch it, and programs that outlived the supervisor. Sourced.

# A program that watches the lab (capture, dashboard, exporter, health) has this in its environment, which its children
# inherit and the kernel keeps: `down` finds it even if its parents have ended. The value contains the host's network
# namespace, because the machine also sees the programs of labs in sandboxes.
WATCHES=CNET_WATCHES=$(readlink /proc/self/ns/net)

mark_watcher() { export "${WATCHES?}"; }

watchers() { grep -lzxsF -- "$WATCHES" /proc/[0-9]*/environ | cut -d/ -f3 || :; } # some processes end meanwhile

# The dashboard's page may have a terminal. `down` ends the dashboard first, and with it this shell.
refuse_in_page() { # WHAT
  local pid=$$ ours
  ours=" $(watchers | tr '\n' ' ') "
  [[ -n ${ours// /} ]] || return 0
  while ((pid > 1)); do
    pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
    [[ $ours != *" $pid "* ]] ||
      die "this shell is in the dashboard's page, and $1 ends the dashboard first; type it in another terminal"
  done
}

# A number of seconds from 1 to 99999; no leading zero, which bash would read as octal.
is_duration() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]]; }

# List processes that the supervisor did not stop, or that outlived it; other processes there are not the lab's.
service_processes() {
  local pid users namespaces
  mapfile -t namespaces < <(run_python -m lab.network removal | sed -n 's/^remove ip netns del //p')
  users=" $(stat -c %u "$STATE_DIR"/nodes/* 2>/dev/null | paste -sd' ' || :) " # none before the first service
  processes_in "${namespaces[@]}" | while read -r pid _; do ! is_service "$pid" "$users" || echo "$pid"; done
}

# A process of a service's user, of the supervisor, or of a run that held the lock (the server of a proof). nginx, Redis
# and PostgreSQL overwrite their environment with their title, but they have the user.
is_service() { # PID USERS
  local user environment
  user=$(awk '/^Uid:/ { print $2 }' "/proc/$1/status" 2>/dev/null) || return
  [[ $2 != *" $user "* || $user == 0 ]] || return 0
  environment=$'\n'$(tr '\0' '\n' 2>/dev/null <"/proc/$1/environ") || return
  [[ $environment == *$'\n'CNET_LOCKED=* ||
    $environment == *$'\n'"SUPERVISOR_SERVER_URL=unix://$RUN_DIR/supervisor.sock"* ]]
}

lists_none() { [[ -z $("$@") ]]; }

# end_processes LIST: send TERM, then KILL, to the processes that the function LIST prints, until it prints none.
end_processes() {
  local signal pids
  for signal in TERM KILL; do
    mapfile -t pids < <("$1")
    ((${#pids[@]} > 0)) || return 0
    run kill "-$signal" "${pids[@]}" 2>/dev/null || : # some may have ended meanwhile
    [[ -z ${DRY_RUN:-} ]] || return 0
    ! retry_until 5 lists_none "$1" || return 0
  done
  die "processes of the lab do not end: $("$1" | tr '\n' ' ')"
}
