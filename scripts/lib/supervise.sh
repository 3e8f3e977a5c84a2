# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The supervisor (supervisord): its configuration from the table, its start and stop, and its commands. Sourced.

# shellcheck source=scripts/lib/passwords.sh
source "$ROOT/scripts/lib/passwords.sh"

CONFIG=$RUN_DIR/supervisord.conf
FIRST_USER=64100 # Debian assigns 60000-64999 on demand (Debian policy 9.2.2), so no account has these numbers

supervisor_config() {
  cat <<EOF
[unix_http_server]
file=$RUN_DIR/supervisor.sock
chmod=0700
[supervisord]
logfile=$STATE_DIR/log/supervisord.log
pidfile=$RUN_DIR/supervisord.pid
user=root
umask=077
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://$RUN_DIR/supervisor.sock
EOF
  local node
  for node in $(services); do program_config "$node" "$(user_of "$node")"; done
}

# A node's user is the owner of its files, so a node keeps its number in every table; a new node gets the next number.
# The host has no name for it; the container has its own /etc/passwd.
user_of() { # NODE
  local files=$STATE_DIR/nodes user
  user=$(stat -c %u "$files/$1" 2>/dev/null) || user=0
  if ((user < FIRST_USER)); then
    user=$(stat -c %u "$files"/* 2>/dev/null |
      awk -v last="$FIRST_USER" '$1 > last { last = $1 } END { print last + 1 }') || :
    [[ -n ${DRY_RUN:-} ]] || install -d -m 700 -o "$user" "$files/$1"
  fi
  echo "$user"
}

program_config() { # NODE USER; PostgreSQL's fast shutdown is INT
  local settings="${ENVIRONMENT[$1]},SERVICE_USER=\"$2\""
  [[ $settings != *,DNS_PORT=* ]] || settings+=",DNS_FORWARD=\"$(resolvers)\""
  cat <<EOF
[program:$1]
command="$ROOT/scripts/contain.sh" start ${NAMESPACE[$1]} ${RUNS[$1]}
environment=$settings
autorestart=true
startretries=1000000
stopsignal=$([[ ${RUNS[$1]} == postgres ]] && echo INT || echo TERM)
stopwaitsecs=15
killasgroup=true
redirect_stderr=true
stdout_logfile=$STATE_DIR/log/$1.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
EOF
}

# A frozen supervisor never answers, so each command has a deadline; stopping programs takes longest.
supervisorctl() {
  local seconds=60
  [[ $1 != pid && $1 != status ]] || seconds=10
  timeout --foreground "$seconds" "$VENV/bin/supervisorctl" -c "$CONFIG" "$@"
}

# Call the supervisor by XML-RPC, because supervisorctl takes ten times as long to start.
query_supervisor() { # METHOD
  curl -sf -m 10 --unix-socket "$RUN_DIR/supervisor.sock" -H 'Content-Type: text/xml' \
    -d "<methodCall><methodName>supervisor.$1</methodName></methodCall>" http://supervisor/RPC2
}

supervisor_runs() { query_supervisor getState >/dev/null; }

supervisor_do() {
  echo_command supervisorctl "$@"
  [[ -n ${DRY_RUN:-} ]] || supervisorctl "$@"
}

# Print NODE STATE PID, a line each; no PID if the program does not run.
supervisor_states() {
  local answer
  answer=$(query_supervisor getAllProcessInfo) || return 0
  sed -nE '/<name>(name|statename|pid)</ { n; s/.*>(.*)<[^<]*<.*/\1/p }' <<<"$answer" |
    paste -d' ' - - - | sed 's/ 0$/ /'
}

# A service's user can enter its own folder, and list or read nothing else.
make_state_folders() {
  install -d -m 711 "$STATE_DIR" "$STATE_DIR/nodes"
  install -d -m 700 "$STATE_DIR/log"
}

# Print the process in a node's container. Its parent, scripts/lib/container.sh, started process 1 first, which is thus
# the oldest of the node's user.
program_pid() { # NODE
  local user init parent _
  user=$(stat -c %u "$STATE_DIR/nodes/$1" 2>/dev/null) || return
  init=$(pgrep --oldest --uid "$user") || return
  read -r _ _ _ parent _ <"/proc/$init/stat" || return
  program_of "$parent"
}
program_of() { (($1 > 0)) && pgrep --newest --parent "$1"; } # PARENT

start_supervisor() {
  make_state_folders
  (umask 077 && supervisor_config >"$CONFIG.new")
  mv "$CONFIG.new" "$CONFIG"
  write_owners # owners must be written before a new instance registers
  if supervisor_runs; then
    stop_others
    # A program may still be stopping if the run before was killed.
    retry_until 20 supervisor_do update ||
      die "the supervisor does not load its new configuration; see $STATE_DIR/log/supervisord.log"
    retry_until 20 none_is_stopping || die "a service does not stop; see $STATE_DIR/log/supervisord.log"
    local node state _
    while read -r node state _; do
      [[ $state != @(STOPPED|EXITED|FATAL) ]] || supervisor_do start "$node" || : # the supervisor retries; `up` waits
    done < <(supervisor_states)
  else
    kill_supervisors
    rm -f "$RUN_DIR/supervisor.sock" "$RUN_DIR/supervisord.pid"
    end_processes service_processes # end the services of a killed supervisor
    # A clean environment, and without our lock (descriptor 9), which it would keep.
    (umask 077 && run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      "$VENV/bin/supervisord" -c "$CONFIG" 9>&-)
    retry_until 10 supervisor_runs || die "the supervisor did not start; see $STATE_DIR/log/supervisord.log"
  fi
}

none_is_stopping() { [[ $(supervisor_states) != *' STOPPING '* ]]; }

stop_others() { # stop nodes that left the table, in parallel: each first finishes open requests
  local node
  while read -r node _; do
    [[ -n ${RUNS[$node]:-} && ${RUNS[$node]} != - ]] || supervisor_do stop "$node" &
  done < <(supervisor_states)
  wait
}

# Kill a supervisor that does not answer or has no files left; it would restart its programs. Skip those of sandboxes.
kill_supervisors() {
  local pid
  for pid in $(pgrep -f -- "bin/supervisord -c $CONFIG\$"); do
    [[ ! /proc/$pid/ns/mnt -ef /proc/self/ns/mnt ]] || run kill -KILL "$pid"
  done
}

stop_supervisor() {
  supervisor_runs || {
    kill_supervisors
    return 0
  }
  local pid
  pid=$(supervisorctl pid)
  supervisor_do stop all # stop in parallel; `shutdown` stops one program after another
  supervisor_do shutdown
  [[ -z ${DRY_RUN:-} ]] || return 0
  retry_until 30 process_ended "$pid" || die "the supervisor (pid $pid) does not end"
}
