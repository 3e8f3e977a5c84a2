#!/usr/bin/env bash
# Run one command on a virtual host in new namespaces. Nothing remains after it.
#
#   +- sandbox: own network, processes, mounts ------------------------+
#   |  host 203.0.113.1  ==== uplink ====  namespace world 203.0.113.2 |
#   |  your command runs here; scripts     the internet, and the       |
#   |  take this for the machine           outside client              |
#   +-----------------------------------------------------------------+
#
#   scripts/sandbox.sh run COMMAND...   run it in a sandbox, and exit with its status
#   scripts/sandbox.sh shell            a shell in a sandbox
#   scripts/sandbox.sh enter [PID]      another shell in a running sandbox; PID if there are several
#   scripts/sandbox.sh help
#
# PUBLISH=8080,8050 forwards these ports of the machine's 127.0.0.1 to the sandbox, for a browser, while the sandbox
# runs; PUBLISH=9080:8080 uses another port of the machine. `kill -9 PID` ends a sandbox from outside: unshare(1)
# ignores other signals.
#
# It needs no root where the kernel lets users create namespaces. Several can run at the same time. When the command
# ends, the kernel removes everything it started or created. `world` answers for every address that is not the
# sandbox's, as the internet does: ip netns exec world curl http://203.0.113.1:8080/

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/limits.sh
source "$ROOT/scripts/lib/limits.sh"
# shellcheck source=scripts/lib/sudo.sh
source "$ROOT/scripts/lib/sudo.sh"

NAME=cnet-sandbox PROMPT='[sandbox] \w # '
HOST_ADDRESS=203.0.113.1 WORLD_ADDRESS=203.0.113.2 # TEST-NET-3, RFC 5737

# Mount a tmpfs over each directory that the lab writes to; the rest is the machine's.
make_private_directories() {
  local directory
  for directory in /run /var/opt /dev/shm; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done
  chmod 1777 /dev/shm
  mkdir -p /run/netns /run/lock
  cp -a /etc /run/etc 2>/dev/null || : # a copy: overlayfs does not nest; a user cannot read all files
  mount --bind /run/etc /etc
  rm -f /etc/resolv.conf # often a link whose target is now hidden
  echo "nameserver $WORLD_ADDRESS" >/etc/resolv.conf
  echo "127.0.1.1 $NAME" >>/etc/hosts # curl, sudo and others look up the host's name, and there is no DNS
}

make_world() {
  ip -batch - <<EOF
link set lo up
netns add world
link add uplink type veth peer name uplink netns world
addr add $HOST_ADDRESS/24 brd + dev uplink
EOF
  # Without duplicate address detection, which takes two seconds.
  [[ ! -d /proc/sys/net/ipv6/conf ]] || sysctl -qw net.ipv6.conf.uplink.accept_dad=0
  ip link set uplink up
  # The world has no route to the lab: it answers only packets from the host's address.
  ip -n world -batch - <<EOF
link set lo up
addr add $WORLD_ADDRESS/24 brd + dev uplink
link set uplink up
route add local default dev lo table main
EOF
  ip route add default via "$WORLD_ADDRESS"
}

# A new host has no br_netfilter; where it is built into the kernel, each new network namespace starts with it on.
switch_bridge_filtering_off() {
  local key
  for key in /proc/sys/net/bridge/bridge-nf-call-{ip,ip6,arp}tables; do [[ ! -e $key ]] || echo 0 >"$key"; done
}

# The listening sockets belong to the machine, so only the relay keeps them.
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
  switch_bridge_filtering_off
  make_world
  relay_published
  trap - EXIT
  local status=0
  "$@" || status=$?
  end_groups
  exit "$status"
}

check_kernel() { # set UNSHARE to the flags of unshare(1) that this user may use
  UNSHARE=(--net --mount --ipc --uts --pid --fork --mount-proc --kill-child)
  ((EUID == 0)) || UNSHARE+=(--user --map-root-user --map-auto)
  unshare "${UNSHARE[@]}" true 2>/dev/null && return
  ((EUID != 0)) || die "the kernel refuses namespaces even to root; is this a container without CAP_SYS_ADMIN?"
  command -v newuidmap >/dev/null || die "without root the sandbox needs newuidmap: sudo apt-get install uidmap"
  grep -q "^$(id -un):" /etc/subuid ||
    die "without root the sandbox needs subordinate ids: sudo usermod --add-subuids 100000-165535 --add-subgids" \
      "100000-165535 $(id -un)"
  die "the kernel lets only root create namespaces (kernel.unprivileged_userns_clone," \
    "kernel.apparmor_restrict_unprivileged_userns); run it with sudo"
}

start() { # COMMAND...
  need_tools ip unshare mount hostname
  check_kernel
  set -- unshare "${UNSHARE[@]}" "$BASH" "$ROOT/scripts/sandbox.sh" inside "$@"
  [[ -z ${PUBLISH:-} ]] || set -- python3 "$ROOT/lab/publish.py" open "$PUBLISH" "$@"
  exec "$@"
}

# Print the first process of each sandbox: it has the number 1 in its PID namespace (proc_pid_status(5), NSpid).
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
  ((${#running[@]} > 0)) || die "no sandbox is running; start one: scripts/sandbox.sh shell"
  ((${#running[@]} == 1)) || [[ -n $wanted ]] ||
    die "several sandboxes are running; name one: scripts/sandbox.sh enter PID, of ${running[*]}"
  wanted=${wanted:-${running[0]}}
  [[ " ${running[*]} " == *" $wanted "* ]] || die "process $wanted is not a sandbox; these are: ${running[*]}"
  ((EUID == 0)) || flags+=(--user --preserve-credentials)
  trap - EXIT
  export -f sudo
  # An exercise has settings of its own. cd: a folder of --wd is one of the machine's mounts, not of the sandbox's.
  # shellcheck disable=SC2016 # expanded in the sandbox
  PS1=$PROMPT exec nsenter --target "$wanted" "${flags[@]}" "$BASH" -c '
    cd "$1"; unset OLDPWD; settings=/run/exercise/rc
    if [[ -e $settings ]]; then exec "$BASH" --rcfile "$settings"; else exec "$BASH" --norc; fi' enter "$ROOT"
}

case ${1:-help} in
  run)
    shift
    (($# > 0)) || bad_usage "run needs a command"
    start "$@"
    ;;
  shell)
    need_environment # nothing can be installed inside: there is no internet
    export -f sudo
    start env PS1="$PROMPT" "$BASH" --norc
    ;;
  enter) enter "${2:-}" ;;
  inside) # internal: runs in the new namespaces
    shift
    inside "$@"
    ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
