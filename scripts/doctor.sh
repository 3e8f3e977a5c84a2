#!/usr/bin/env bash
# Looks, before `up` does, at what real machines bring. It changes nothing.
#
#   scripts/doctor.sh [check] [--json] [CHECK...]   look at everything, or only at the checks named
#   scripts/doctor.sh help                          this, and the list of checks
#
# One line for each finding, and below it the fix where there is something to do or to know:
#   ok        as it should be
#   note      works, but know this
#   problem   `up` will fail; the exit status is 1
# What needs root is left out without it, and named. Kernel features are tried in a network namespace
# that ends at once; the kernel may load a module for that (br_netfilter, which would change the way of
# other bridges' packets, is never among them). TOPOLOGY=NAME|PATH looks at another table.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/lib/preconditions.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/preconditions.sh"
# shellcheck source=scripts/doctor/machine.sh
source "$ROOT/scripts/doctor/machine.sh"
# shellcheck source=scripts/doctor/tools.sh
source "$ROOT/scripts/doctor/tools.sh"
# shellcheck source=scripts/doctor/kernel.sh
source "$ROOT/scripts/doctor/kernel.sh"
# shellcheck source=scripts/doctor/firewall.sh
source "$ROOT/scripts/doctor/firewall.sh"
# shellcheck source=scripts/doctor/network.sh
source "$ROOT/scripts/doctor/network.sh"
# shellcheck source=scripts/doctor/lab.sh
source "$ROOT/scripts/doctor/lab.sh"

# Each check, in the order in which it is shown: NAME, what it NEEDS (see lacks), what it looks at.
# The function is check_NAME; it says what it finds by ok, note and problem.
CHECKS='
privileges  unshare                  root and its capabilities, or what the sandbox needs without root
machine     -                        distribution, kernel, WSL2, container, cgroups, SELinux, clock
space       table                    disk for the data, memory
tools       -                        each program, its least version, its package
python      -                        Python 3.11, the virtual environment
kernel      namespaces,ip,iptables,jq   namespaces, veth, bridge, NAT, matches and targets, each tried
bridging    -                        br_netfilter: whether frames between nodes meet iptables
iptables    root,iptables            the backend in use, rules in the other one and in nft tables
firewall    root,iptables,pgrep,table   firewalld, ufw, the policies of FORWARD, INPUT and OUTPUT
docker      root,iptables,pgrep      FORWARD set to DROP, DOCKER-USER
forwarding  ip,jq                    ip_forward, rp_filter, read-only /proc/sys
ipv6        -                        on or off, and what that means for localhost
uplink      ip,jq                    the default route and its MTU
managers    pgrep,table,jq           NetworkManager, systemd-networkd
namespaces  -                        whether names in /run/netns are seen by everyone, stale names
resolver    table                    /etc/resolv.conf and /etc/netns
limits      table                    connection tracking, neighbours
table       -                        the topology table, and whether a lab is up already
subnets     root,ip,jq,table         routes, interfaces and namespaces in the way, ports of a bridge
ports       root,ip,jq,ss,conntrack,iptables,table   published ports that are taken, by whom
services    table                    what scripts/services.sh needs
'
PATIENCE=${DOCTOR_PATIENCE:-10} # seconds for one check

# --- what a check says: LEVEL, CHECK, text and fix, one tab between them --------------------------

# shellcheck disable=SC2031 # NAME is the check's own, wherever it runs
finding() { printf '%s\t%s\t%s\t%s\n' "$1" "$NAME" "$(tr -s '\t\n' '  ' <<<"$2" | sed 's/ *$//')" "${3:-}"; }
ok() { finding ok "$1"; }
note() { finding note "$1" "$2"; }
problem() { finding problem "$1" "$2"; }
problem_of() { problem "${1%; *}" "${1##*; }"; } # "WHAT; FIX"

check_names() { awk 'NF { print $1 }' <<<"$CHECKS"; }

meets() { # NEED
  case $1 in
    -) ;;
    root) ((EUID == 0)) ;;
    namespaces) unshare "${THROW_AWAY[@]}" true 2>/dev/null ;;
    table) (load_topology) 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# The first of a check's needs that is not met, empty when all are.
lacks() { # NEEDS
  local need
  for need in ${1//,/ }; do
    meets "$need" || { echo "$need" && return; }
  done
}

# One check, in a process of its own (see look).
one() { # NAME
  local missing
  NAME=$1
  missing=$(lacks "$(awk -v name="$NAME" '$1 == name { print $2 }' <<<"$CHECKS")")
  if [[ -n $missing ]]; then finding skipped "$missing"; else "check_$NAME"; fi
}

# A check that hangs or breaks is itself a finding, and holds up nobody.
look() { # NAME
  local said status=0
  said=$(timeout --kill-after=1 "$PATIENCE" "$BASH" "$ROOT/scripts/doctor.sh" one "$1" 2>&1 </dev/null) || status=$?
  grep -E $'^(ok|note|problem|skipped)\t' <<<"$said" || true # it may have found nothing
  case $status in
    0) ;;
    124 | 137) NAME=$1 note "no answer within $PATIENCE s" "bash -x scripts/doctor.sh one $1 shows where it waits" ;;
    *) NAME=$1 note "could not be looked at: $(tail -n 1 <<<"$said")" "bash -x scripts/doctor.sh one $1 shows where it breaks" ;;
  esac
}

# All at once; read in order.
look_at() { # NAME...
  local name stream streams=()
  for name; do
    exec {stream}< <(look "$name")
    streams+=("$stream")
  done
  for stream in "${streams[@]}"; do cat <&"$stream"; done | gather_skipped
}

gather_skipped() {
  awk -F '\t' '
    $1 != "skipped" { print; next }
    { checks[$3] = checks[$3] (checks[$3] ? ", " : "") $2; if (!($3 in seen)) { seen[$3]; order[++count] = $3 } }
    END { for (i = 1; i <= count; i++) {
      fix = order[i] == "root" ? "sudo make doctor" : "repair that first, then sudo make doctor"
      what = order[i] == "table" ? "a good table" : order[i]
      printf "note\tskipped\tnot looked at without %s: %s\t%s\n", what, checks[order[i]], fix } }'
}

# --- what is shown --------------------------------------------------------------------------------

show_text() {
  local level name text fix colour rest problems=0 notes=0
  while IFS= read -r line; do
    split_finding
    case $level in
      ok) colour=$GREEN ;;
      note) colour=$YELLOW notes=$((notes + 1)) ;;
      problem) colour=$RED problems=$((problems + 1)) ;;
    esac
    printf '%s%-8s%s %-11s %s\n' "$colour" "$level" "$PLAIN" "$name" "$text"
    [[ -z $fix ]] || printf '%21sfix: %s\n' '' "$fix"
  done
  echo "$BOLD$(count "$problems" problem), $(count "$notes" note)$PLAIN"
}

count() { echo "$1 $2$( (($1 == 1)) || echo s)"; } # NUMBER WORD

split_finding() { # `read` would take two tabs for one
  level=${line%%$'\t'*} rest=${line#*$'\t'}
  name=${rest%%$'\t'*} rest=${rest#*$'\t'}
  text=${rest%%$'\t'*} fix=${rest#*$'\t'}
}

show_json() { # without jq, which may be what is missing
  local level name text fix rest comma='' problems=0 notes=0
  printf '{"findings":['
  while IFS= read -r line; do
    split_finding
    [[ $level != problem ]] || problems=$((problems + 1))
    [[ $level != note ]] || notes=$((notes + 1))
    printf '%s\n{"level":"%s","check":"%s","finding":%s,"fix":%s}' "$comma" "$level" "$name" "$(json "$text")" "$(json "$fix")"
    comma=,
  done
  printf '],\n"problems":%d,"notes":%d}\n' "$problems" "$notes"
}

json() { # TEXT as a JSON string
  local text=${1//[[:cntrl:]]/ }
  text=${text//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

check() { # [--json] [CHECK...]
  local show=show_text names=() word findings
  for word; do
    if [[ $word == --json ]]; then
      show=show_json
    else
      grep -qxF -- "$word" <<<"$(check_names)" || bad_usage "there is no check \"$word\""
      names+=("$word")
    fi
  done
  ((${#names[@]} > 0)) || mapfile -t names < <(check_names)
  findings=$(look_at "${names[@]}")
  [[ -n $findings ]] || findings=$'ok\tall\tnothing to say'
  "$show" <<<"$findings"
  ! grep -q ^problem <<<"$findings"
}

case ${1:-check} in
  check) check "${@:2}" ;;
  --json) check "$@" ;;
  one) one "$2" ;;              # only for itself: a check in a process of its own
  try_features) try_features ;; # only for itself, in the namespace that ends at once
  help)
    print_help
    awk 'NF { name = $1; $1 = $2 = ""; printf "  %-11s%s\n", name, $0 }' <<<"$CHECKS"
    ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
