#!/usr/bin/env bash
# Inside a container: build its root, start the program without privileges, pass signals on, and wait for its end.
# scripts/contain.sh runs this in new network, mount, IPC, UTS and PID namespaces; see docs/lessons/services.md.
#
#   container.sh CHECKOUT PROGRAM NAMESPACE    environment: INSTANCE_ID, SERVICE_USER, CAPABILITIES, OWN_FOLDER, ...
#
# `unshare --pid` affects children only: the first process that is forked here becomes process 1 of the PID namespace.
# So this script sources nothing and forks nothing before that, not even by $(...).

set -euo pipefail
umask 022
cd / # pivot_root changes only a working directory "/"; any other stays visible as /proc/PID/cwd

CHECKOUT=$1 PROGRAM=$2 NAMESPACE=$3
NEW_ROOT=/run/cnet # any folder that always exists; mounts on it are visible only in this mount namespace
UNPRIVILEGED=(setpriv --reuid "$SERVICE_USER" --regid "$SERVICE_USER" --clear-groups --no-new-privs
  --inh-caps "$CAPABILITIES" --ambient-caps "$CAPABILITIES" --bounding-set "$CAPABILITIES")

# Process 1: when it ends, the kernel kills all processes of the namespace. Orphans become its children; because it
# ignores SIGCHLD, the kernel reaps them.
start_init() {
  "${UNPRIVILEGED[@]}" --pdeathsig KILL env --ignore-signal=CHLD sleep infinity &
  INIT=$!
}

show() { # SOURCE TARGET: a folder or a file, read-only
  if [[ -d $1 ]]; then mkdir -p ".$2"; else mkdir -p ".${2%/*}" && : >".$2"; fi
  mount --rbind -o ro,nosuid,nodev "$1" ".$2"
}

build_root() {
  mount -t tmpfs -o mode=755,size=2m,nosuid,nodev cnet-root "$NEW_ROOT"
  cd "$NEW_ROOT"
  mkdir old proc tmp dev dev/shm etc state
  show_system
  show "$CHECKOUT/services/$PROGRAM" "/services/$PROGRAM"
  show "$CHECKOUT/.venv" /venv
  [[ -z ${HEARTBEAT:-} ]] || show "$CHECKOUT/lab/heartbeat.py" /lab/heartbeat.py
  mount --bind -o nosuid,nodev,noexec "$OWN_FOLDER" state
  make_devices
  write_etc
  mount -t tmpfs -o mode=1777,size=32m,nosuid,nodev,noexec tmp tmp
}

# The host's programs and libraries. On most systems /bin and /lib are links into /usr.
show_system() {
  local folder python
  show /usr /usr
  for folder in /bin /sbin /lib /lib32 /lib64 /libx32; do
    if [[ -L $folder ]]; then cp -P "$folder" .; elif [[ -d $folder ]]; then show "$folder" "$folder"; fi
  done
  python=$(readlink -f "$CHECKOUT/.venv/bin/python") # may be in a home folder
  [[ $python == /usr/* ]] || show "${python%/bin/*}" "${python%/bin/*}"
}

make_devices() {
  local device
  for device in null zero full random urandom; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  ln -s /proc/self/fd dev/fd
  ln -s /proc/self/fd/0 dev/stdin
  ln -s /proc/self/fd/1 dev/stdout
  ln -s /proc/self/fd/2 dev/stderr
  mount -t tmpfs -o mode=1777,size=64m,nosuid,nodev,noexec shm dev/shm
}

# Only what programs read: users, name resolution, library paths, the time zone.
write_etc() {
  local name=${INSTANCE_ID:0:64} file
  echo "$PROGRAM:x:$SERVICE_USER:$SERVICE_USER::/state:/usr/sbin/nologin" >etc/passwd
  echo "$PROGRAM:x:$SERVICE_USER:" >etc/group
  printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$SERVICE_IP" "$name" >etc/hosts
  echo -n "${SERVICE_IP6:+$SERVICE_IP6 $name$'\n'}" >>etc/hosts
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >etc/nsswitch.conf
  for file in ld.so.cache localtime; do [[ ! -e /etc/$file ]] || cp -L "/etc/$file" etc; done
  for file in alternatives ssl/certs; do [[ ! -d /etc/$file ]] || show "/etc/$file" "/etc/$file"; done
  # Show the folder: a bind-mounted file that is replaced by `mv` stays the old one here.
  if [[ -e /etc/netns/$NAMESPACE/resolv.conf ]]; then
    show "/etc/netns/$NAMESPACE" /etc/netns
    ln -s netns/resolv.conf etc/resolv.conf
  elif [[ -e /etc/resolv.conf ]]; then cp -L /etc/resolv.conf etc; fi # a dangling link does not exist for -e
}

# Mount /proc while the old root's is visible, or the kernel refuses it in a user namespace (mount_too_revealing).
enter_root() {
  pivot_root . old
  cd /
  mount -t proc -o nosuid,nodev,noexec proc /proc
  umount --lazy /old
  rmdir /old
  mount -o remount,ro,nosuid,nodev /
}

start_program() {
  export STATE_DIR=/state HOME=/state
  local command=(./start.sh)
  cd "/services/$PROGRAM"
  [[ -x start.sh ]] ||
    command=(/venv/bin/python -m gunicorn -c python:cnet_service.gunicorn_settings 'app:create_app()')
  # Detach the heartbeat: PostgreSQL restarts if an unknown child of its postmaster dies by a signal.
  [[ -z ${HEARTBEAT:-} ]] || ("${UNPRIVILEGED[@]}" /venv/bin/python /lab/heartbeat.py &)
  # bash makes background processes ignore INT and QUIT; give the program the defaults.
  env --default-signal=INT,QUIT "${UNPRIVILEGED[@]}" --pdeathsig KILL -- "${command[@]}" &
  PROGRAM_PID=$!
}

# shellcheck disable=SC2317 # a trap calls it
forward() { # SIGNAL
  [[ -n ${PROGRAM_PID:-} ]] || exit 143
  kill "-$1" "$PROGRAM_PID" 2>/dev/null || :
}

# A trap ends `wait` early, so wait until the program has ended. Killing process 1 ends the remaining processes.
watch_program() {
  local status
  while kill -0 "$PROGRAM_PID" 2>/dev/null; do wait "$PROGRAM_PID" || :; done
  wait "$PROGRAM_PID" && status=0 || status=$?
  kill -KILL "$INIT" 2>/dev/null || :
  wait "$INIT" 2>/dev/null || :
  exit "$status"
}

start_init
for signal in TERM INT QUIT HUP USR1 USR2; do
  # shellcheck disable=SC2064 # the signal of this turn
  trap "forward $signal" "$signal"
done
# hostname(1) takes no _, which a node's name may have; only the machine's root may write the file.
echo "${INSTANCE_ID:0:64}" 2>/dev/null >/proc/sys/kernel/hostname || hostname "${INSTANCE_ID//_/-}"
build_root
enter_root
start_program
watch_program
