# shellcheck shell=bash
# Limits of memory and processes for each node: a control group /sys/fs/cgroup/[CONTROLLER/]cnet/LAB/NODE, or resource
# limits where none can be created. LAB is the inode of the host's network namespace: labs in two sandboxes differ.
# Sourced.

CGROUPS=/sys/fs/cgroup

# Including threads: gunicorn has 20. PostgreSQL starts up to twice its 50 connections before it refuses one.
processes_of() { if [[ $1 == postgres ]]; then echo 256; else echo 128; fi; } # PROGRAM
memory_of() { if [[ $1 == postgres ]]; then echo 512; else echo 256; fi; }    # PROGRAM: megabytes

lab_group() { echo "cnet/$(stat -Lc %i /proc/self/ns/net)"; }

is_unified() { [[ -e $CGROUPS/cgroup.controllers ]]; } # version 2 alone; see cgroups(7)

group_roots() { if is_unified; then echo "$CGROUPS"; else printf '%s\n' "$CGROUPS/memory" "$CGROUPS/pids"; fi; }

# Put this process and its children under a node's limits, and report the kind.
limit_self() { # NODE PROGRAM
  local memory processes
  memory=$(memory_of "$2") processes=$(processes_of "$2")
  # Another lab's `down` may remove a group that is still empty, so try again.
  for _ in 1 2 3; do
    if (enter_group "$(lab_group)" "$1" "$memory" "$processes") 2>/dev/null; then
      say "limits: control group $(lab_group)/$1, $memory MB of memory, $processes processes"
      return
    fi
  done
  # This limits each process separately, and counts thread stacks that are reserved and not used.
  prlimit --pid "$$" --data="$((memory << 21))" --nproc="$processes"
  say "limits: no control group can be made, so $((memory * 2)) MB of data for each process, $processes processes" \
    "of the user"
}

show_limits() { # PID
  local file
  while IFS=: read -r _ _ file; do
    for file in "$CGROUPS"{,/memory,/pids}"$file"/{memory.limit_in_bytes,memory.max,pids.max}; do
      [[ $file != */cnet/* || ! -e $file ]] || printf '%-12s %s\n' limits: "${file##*/} $(<"$file")"
    done
  done < <(sort -u -t: -k3 "/proc/$1/cgroup")
  awk '/^Max (data size|processes)/ { printf "%-12s %s %s %s\n", "rlimit:", $1, $2, $(NF - 2) }' "/proc/$1/limits"
}

# Each step by &&: set -e has no effect inside a condition.
enter_group() { # LAB_GROUP NODE MEGABYTES PROCESSES
  local root group
  while read -r root; do
    [[ -e $root/cgroup.procs ]] || return # the controller is not mounted
    ! is_unified || allow_controllers "$root" "$1" || return
    group=$root/$1/$2
    mkdir -p "$group" && set_limits "$group" "$(($3 << 20))" "$4" && echo "$$" >"$group/cgroup.procs" || return
  done < <(group_roots)
}

# In version 2 a group has only the controllers that each parent enables.
allow_controllers() { # ROOT LAB_GROUP
  local folder
  mkdir -p "$1/$2" || return
  for folder in "$1" "$1/${2%/*}" "$1/$2"; do echo '+memory +pids' >"$folder/cgroup.subtree_control" || return; done
}

# The limit of memory includes swap.
set_limits() { # GROUP BYTES PROCESSES
  if is_unified; then
    echo "$2" >"$1/memory.max" && { echo 0 >"$1/memory.swap.max" || :; } && echo "$3" >"$1/pids.max"
  elif [[ $1 == "$CGROUPS/memory/"* ]]; then
    echo "$2" >"$1/memory.limit_in_bytes" && { echo "$2" >"$1/memory.memsw.limit_in_bytes" || :; }
  else echo "$3" >"$1/pids.max"; fi
}

# Remove empty groups, of this lab and of killed sandboxes; rmdir fails for the others.
remove_groups() {
  local root
  while read -r root; do
    [[ ! -d $root/cnet ]] || find "$root/cnet" -depth -type d -exec rmdir {} + 2>/dev/null || :
  done < <(group_roots)
}

has_groups() {
  local root
  while read -r root; do [[ ! -d $root/$(lab_group) ]] || return 0; done < <(group_roots)
  return 1
}

group_processes() { # list this lab's processes; 0 is a process of another PID namespace
  local root
  while read -r root; do cat "$root/$(lab_group)"/*/cgroup.procs; done < <(group_roots) 2>/dev/null |
    grep -vx 0 | sort -u || :
}

no_groups_left() {
  remove_groups
  ! has_groups
}

# A group is not removed with the namespaces of its processes, so a sandbox ends its lab first.
end_groups() {
  has_groups || return 0
  kill -KILL "$(cat "$RUN_DIR/supervisord.pid" 2>/dev/null)" 2>/dev/null || :
  retry_until 5 no_processes_left || :
}
no_processes_left() {
  local pids
  mapfile -t pids < <(group_processes)
  ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" 2>/dev/null || :
  no_groups_left
}
