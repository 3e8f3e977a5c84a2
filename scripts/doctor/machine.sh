# shellcheck shell=bash
# doctor: privileges and the kind of machine. Sourced.

# Bits of a capability set, as linux/capability.h numbers them.
NEEDED_CAPABILITIES=(net_admin:12 net_raw:13 sys_admin:21)

missing_capabilities() {
  local have name
  have=0x$(awk '/^CapEff:/ { print $2 }' /proc/self/status)
  for name in "${NEEDED_CAPABILITIES[@]}"; do ((have >> ${name#*:} & 1)) || echo "CAP_${name%:*}"; done
}

check_privileges() {
  local missing output
  if ((EUID == 0)); then
    missing=$(missing_capabilities | tr '\n' ' ')
    if [[ -n $missing ]]; then
      problem "root, but without ${missing^^}" "run it outside this container, or start the container with --privileged"
    elif output=$(unshare --net --mount --pid --fork true 2>&1); then
      ok "root$([[ $(</proc/self/uid_map) =~ ^\ *0\ +0\ +4294967295 ]] || echo " of a user namespace")"
    else
      problem "root, but the kernel refuses namespaces: $output" \
        "run it outside this container, or start the container with --privileged"
    fi
  elif output=$("$ROOT/scripts/sandbox.sh" run true 2>&1); then
    note "not root: \`up\` needs it, the sandbox does not" "sudo make up, or scripts/sandbox.sh run make up"
  else
    output=$(tail -n 1 <<<"${output#sandbox.sh: }")
    problem "not root, and no sandbox either: ${output%: sudo*}" \
      "sudo make up$([[ $output != *': sudo '* ]] || echo "; for the sandbox: sudo ${output##*: sudo }")"
  fi
}

container_kind() { # docker, podman, lxc..., empty outside
  if [[ -e /run/.containerenv ]]; then
    echo podman
  elif [[ -e /.dockerenv ]]; then
    echo docker
  elif command -v systemd-detect-virt >/dev/null; then
    timeout 3 systemd-detect-virt --container | grep -vxE 'none|wsl' || true # neither is a container
  fi
}

check_machine() {
  local release system container groups=v1
  release=$(</proc/sys/kernel/osrelease)
  system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}") || true # reported as unknown below
  [[ $(stat -fc %T /sys/fs/cgroup 2>/dev/null) != cgroup2fs ]] || groups=v2
  ok "${system:-unknown system}, kernel $release, cgroup $groups"
  container=$(container_kind)
  [[ -z $container ]] ||
    note "inside a container ($container): its host controls capabilities, /proc/sys and kernel modules" \
      "nothing to do if privileges, kernel and forwarding are ok; otherwise start it with --privileged"
  [[ ${release,,} != *microsoft* ]] || wsl_findings "$release"
  [[ $(cat /sys/fs/selinux/enforce 2>/dev/null) != 1 ]] ||
    note "SELinux is enforcing: it may deny nginx or PostgreSQL access to $STATE_DIR" \
      "if a service does not start, sudo ausearch -m avc -ts recent shows why"
  clock_findings
}

wsl_findings() { # RELEASE: 4.4.0-19041-Microsoft is WSL1, 5.15.167.4-microsoft-standard-WSL2 is not
  if [[ $1 != *-Microsoft ]]; then
    note "WSL2: published ports are rules, not listening programs, so Windows' localhost does not reach them" \
      "from Windows, open http://ADDRESS:PORT with an address of \`ip -4 addr show eth0\`; inside WSL, localhost works"
  else
    problem "WSL1 has no network namespaces" "in Windows: wsl --set-version DISTRIBUTION 2"
  fi
  [[ $ROOT != /mnt/[a-z]/* ]] || note "the checkout is on a Windows drive: slow, and without owners and modes" \
    "clone it into the Linux file system, for example into ~"
}

# If files are newer than the clock, the clock is behind: certificates are not valid yet, and make rebuilds wrongly.
clock_findings() {
  local newest
  newest=$(find "$ROOT/scripts" "$ROOT/topology" -type f -printf '%T@\n' | sort -n | tail -1)
  ((${newest%.*} < EPOCHSECONDS + 3600)) || note "the clock is at $(date '+%F %T'), but the checkout has newer files" \
    "sudo timedatectl set-ntp true (in WSL2: sudo hwclock --hctosys)"
}

check_space() {
  local disk memory output short
  load_topology
  short=$(space_problem)
  disk=$(free_megabytes "$STATE_DIR")
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  output="$disk MB free for $STATE_DIR, $memory MB of memory available"
  if [[ -n $short ]]; then
    problem_of "$short"
  elif ((disk < 2000 || memory < 500)); then
    note "$output: little for PostgreSQL and the logs (1 GB and 500 MB are comfortable)" \
      "free some, or use a table with fewer services"
  else
    ok "$output"
  fi
}
