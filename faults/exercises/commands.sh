#!/usr/bin/env bash
# Run the commands of one fault of the catalogue; faults/exercise.sh and the tests call this.
#
#   faults/exercises/commands.sh FOLDER break        run break.sh
#   faults/exercises/commands.sh FOLDER undo         run the first right_ function of repairs.sh
#   faults/exercises/commands.sh FOLDER FUNCTION     run a function of repairs.sh
#
# The environment has the variables of targets.py.

set -euo pipefail
ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
cd "$ROOT"

# --- for the commands of the catalogue --------------------------------------------------------------------

in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }                     # NAMESPACE COMMAND...
supervised() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@" || :; } # start|stop|restart NODE

# A wrong repair of many faults: all that the policy closes is then open.
flush_policy() {
  local chain chains
  chains=$(iptables-save -t security | sed -n 's/^:\(CNET-[^ ]*\).*/\1/p')
  for chain in $chains; do iptables -t security -F "$chain"; done
}
hard_code() { echo "$2 $1" >>/etc/hosts; } # NAME ADDRESS
sql() { scripts/contain.sh exec "$NODE" psql -XAtq -h /state -p "$LISTENS" -d orders -c "$1"; }

# The processes of a node: those of its user.
pids_of() { pgrep -u "$(stat -c %u "/var/opt/cnet/nodes/$1")"; } # NODE

# Limit a node's processes to so many microseconds of a processor in each second; -1: no limit, none: leave the group.
quota() { # NODE MICROSECONDS
  local group folder pid
  pid=$(pids_of "$1" | sed -n 1p)
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then # version 2: the node has a group
    group=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$pid/cgroup")
    [[ $group == */cnet/*/"$1" ]] || { echo "$1 has no control group of its own: $group" >&2 && return 1; }
    for folder in "${group%/*/*/*}" "${group%/*/*}" "${group%/*}"; do
      echo +cpu >"$folder/cgroup.subtree_control"
    done
    echo "${2//@(-1|none)/max} 1000000" >"$group/cpu.max"
    return
  fi
  group=/sys/fs/cgroup/cpu/cnet/$(stat -Lc %i /proc/self/ns/net)/$1
  mkdir -p "$group"
  [[ $2 == none ]] || { echo 1000000 >"$group/cpu.cfs_period_us" && echo "$2" >"$group/cpu.cfs_quota_us"; }
  [[ $2 != none ]] || group=/sys/fs/cgroup/cpu
  for pid in $(pids_of "$1"); do echo "$pid" >"$group/cgroup.procs"; done
  [[ $2 != none ]] || rmdir "/sys/fs/cgroup/cpu/cnet/$(stat -Lc %i /proc/self/ns/net)/$1"
}

# A program's folder in a copy that only this mount namespace sees, to break it.
private_copy() { # PROGRAM
  cp -a "services/$1" "/run/cnet/copy-$1"
  mount --bind "/run/cnet/copy-$1" "services/$1"
}
remove_copy() { # PROGRAM; also while a shell or an editor is in the folder
  umount -l "services/$1"
  rm -rf "/run/cnet/copy-$1"
}

folder=faults/catalogue/$1
if [[ $2 == break ]]; then
  # shellcheck source=/dev/null
  source "$folder/break.sh"
else
  # shellcheck source=/dev/null
  source "$folder/repairs.sh"
  first=$(sed -n 's/^\(right_[a-z0-9_]*\)().*/\1/p' "$folder/repairs.sh")
  if [[ $2 == undo ]]; then "${first%%$'\n'*}"; else "$2"; fi
fi
