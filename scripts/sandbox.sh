#!/usr/bin/env bash
# A host of your own for one command: the lab lives in it, and nothing of it stays.
#
#   +- sandbox: own network, processes, mounts ------------------------+
#   |  host 203.0.113.1  ==== uplink ====  namespace world 203.0.113.2 |
#   |  your command runs here              the internet, and the       |
#   |  (to every script, the machine)      outside client              |
#   +-----------------------------------------------------------------+
#
#   scripts/sandbox.sh run COMMAND...   run it there; its exit status is this one's
#   scripts/sandbox.sh shell            a shell there, whose prompt says so
#   scripts/sandbox.sh enter [PID]      a second terminal in a sandbox that runs; PID when there are several
#   scripts/sandbox.sh help
#
# PUBLISH=8080,8050 makes these ports of the sandbox reachable at 127.0.0.1 of the machine, for a browser there, as long
# as the sandbox runs; PUBLISH=9080:8080 takes another port of the machine. `kill -9 PID` ends a sandbox from outside
# (unshare(1) ignores other signals).
#
# Needs no root where the kernel lets users make namespaces. Several run at once. When the command
# ends, the kernel takes away whatever it started or made. `world` answers for every address that is
# not the sandbox's own, as the internet does: ip netns exec world curl http://203.0.113.1:8080/

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/limits.sh
source "$ROOT/scripts/lib/limits.sh"

NAME=cnet-sandbox PROMPT='[sandbox] \w # '
HOST_ADDRESS=203.0.113.1 WORLD_ADDRESS=203.0.113.2 # TEST-NET-3, RFC 5737

# Directories that the lab writes to get a memory of their own; the rest of the machine is seen as it is.
make_private_directories() {
  local directory
  for directory in /run /var/opt /dev/shm; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done
  chmod 1777 /dev/shm
  mkdir -p /run/netns /run/lock
  cp -a /etc /run/etc 2>/dev/null || : # an overlay would do, but not within another one; a user may not read all
  mount --bind /run/etc /etc
  rm -f /etc/resolv.conf # often a link to where nothing is any more
  echo "nameserver $WORLD_ADDRESS" >/etc/resolv.conf
  echo "127.0.1.1 $NAME" >>/etc/hosts # curl, sudo and others look their host up at once, and there is no DNS
}

make_world() {
  ip -batch - <<EOF
link set lo up
netns add world
link add uplink type veth peer name uplink netns world
addr add $HOST_ADDRESS/24 brd + dev uplink
EOF
  [[ ! -d /proc/sys/net/ipv6/conf ]] || sysctl -qw net.ipv6.conf.uplink.accept_dad=0 # its own IPv6 address is there at once, not two seconds later
  ip link set uplink up
  # The world has no route to the lab: it answers only what comes from the host's own address.
  ip -n world -batch - <<EOF
link set lo up
addr add $WORLD_ADDRESS/24 brd + dev uplink
link set uplink up
route add local default dev lo table main
EOF
  ip route add default via "$WORLD_ADDRESS"
}

# A fresh host has no br_netfilter loaded; where it is built into the kernel, each new namespace begins with it on.
quiet_bridges() {
  local key
  for key in /proc/sys/net/bridge/bridge-nf-call-{ip,ip6,arp}tables; do [[ ! -e $key ]] || echo 0 >"$key"; done
}

# The sockets are of the machine, so only the relay may hold them.
relay_published() {
  local item descriptor
  [[ -n ${CNET_PUBLISHED:-} ]] || return 0
  python3 "$ROOT/lab/publish.py" relay </dev/null &>/dev/null &
  disown
  for item in ${CNET_PUBLISHED//,/ }; do
    descriptor=${item%:*}
    exec {descriptor}>&-
  done
  unset CNET_PUBLISHED
}

inside() {
  hostname "$NAME"
  make_private_directories
  quiet_bridges
  make_world
  relay_published
  trap - EXIT
  local status=0
  "$@" || status=$?
  end_groups
  exit "$status"
}

check_kernel() { # the flags of unshare that this user may use, in UNSHARE
  UNSHARE=(--net --mount --ipc --uts --pid --fork --mount-proc --kill-child)
  ((EUID == 0)) || UNSHARE+=(--user --map-root-user --map-auto)
  unshare "${UNSHARE[@]}" true 2>/dev/null && return
  ((EUID != 0)) || die "the kernel refuses namespaces even to root; is this a container without CAP_SYS_ADMIN?"
  command -v newuidmap >/dev/null || die "without root it needs newuidmap: sudo apt-get install uidmap"
  grep -q "^$(id -un):" /etc/subuid || die "without root it needs subordinate ids: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
  die "the kernel lets no user make namespaces (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); run it with sudo"
}

start() { # COMMAND...
  need_tools ip unshare mount hostname
  check_kernel
  set -- unshare "${UNSHARE[@]}" "$BASH" "$ROOT/scripts/sandbox.sh" inside "$@"
  [[ -z ${PUBLISH:-} ]] || set -- python3 "$ROOT/lab/publish.py" open "$PUBLISH" "$@"
  exec "$@"
}

# The first process of each sandbox, which is number 1 in its own PID namespace (proc_pid_status(5), NSpid).
running_sandboxes() {
  local words process
  for process in /proc/[0-9]*; do
    mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
    [[ ${words[1]:-} == */scripts/sandbox.sh && ${words[2]:-} == inside ]] || continue
    ! grep -qsE '^NSpid:.*[[:space:]]1$' "$process/status" || echo "${process#/proc/}"
  done
}

enter() { # [PID]
  local running wanted=${1:-} flags=(--net --mount --ipc --uts --pid)
  mapfile -t running < <(running_sandboxes)
  ((${#running[@]} > 0)) || die "no sandbox runs; begin one: scripts/sandbox.sh shell"
  ((${#running[@]} == 1)) || [[ -n $wanted ]] || die "several sandboxes run; name one: scripts/sandbox.sh enter PID, of ${running[*]}"
  wanted=${wanted:-${running[0]}}
  [[ " ${running[*]} " == *" $wanted "* ]] || die "process $wanted is no sandbox; there are ${running[*]}"
  ((EUID == 0)) || flags+=(--user --preserve-credentials)
  trap - EXIT
  PS1=$PROMPT exec nsenter --target "$wanted" "${flags[@]}" --wd="$ROOT" "$BASH" --norc
}

case ${1:-help} in
  run)
    shift
    (($# > 0)) || bad_usage "run needs a command"
    start "$@"
    ;;
  shell)
    need_environment # there is no internet in it to install anything from
    start env PS1="$PROMPT" "$BASH" --norc
    ;;
  enter) enter "${2:-}" ;;
  inside) # only for itself, within the new namespaces
    shift
    inside "$@"
    ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
