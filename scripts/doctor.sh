#!/usr/bin/env bash
# Check this machine before `up`. Changes nothing.
#
#   scripts/doctor.sh [check] [CHECK...]   run all checks, or only those named (--json or JSON=1)
#   scripts/doctor.sh help                 this, and the list of checks
#
# One line for each finding, and below it the fix if there is one:
#   ok        as it should be
#   note      works, but there is something to know
#   problem   `up` will fail; the exit status is 1
# Without root, checks that need it are skipped and named. Kernel features are tried in a temporary network namespace;
# the kernel may load modules for that, but not br_netfilter, which would send other bridges' packets through iptables.
# TOPOLOGY=NAME|PATH checks another table.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=scripts/lib/preconditions.sh
source "$ROOT/scripts/lib/preconditions.sh"
# shellcheck source=scripts/lib/tools.sh
source "$ROOT/scripts/lib/tools.sh"
for part in "$ROOT"/scripts/doctor/*.sh; do
  # shellcheck source=/dev/null # they define check_NAME
  source "$part"
done

# Each check in the order of the output: NAME, its NEEDS (see first_unmet_need), what it checks.
# Its function is check_NAME, which reports by ok, note and problem.
CHECKS='
privileges  unshare                  root and its capabilities, or what the sandbox needs without root
machine     -                        distribution, kernel, WSL2, container, cgroups, SELinux, clock
space       table                    disk for the data, memory
tools       -                        each program, its minimum version, its package
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
namespaces  -                        whether all processes see the names in /run/netns, stale names
resolver    table                    /etc/resolv.conf and /etc/netns
limits      table                    connection tracking, neighbours
table       -                        the topology table, and whether a lab is up already
subnets     root,ip,jq,table         routes, interfaces and namespaces in the way, ports of a bridge
ports       root,ip,jq,ss,conntrack,iptables,table   published ports that are in use, and by which program
services    table                    what scripts/services.sh needs
running     root,ip,jq,iptables,table   whether a lab that is up works, by make diagnose
'
TIMEOUT_SECONDS=${DOCTOR_TIMEOUT_SECONDS:-10} # timeout of one check

# --- findings: LEVEL, CHECK, text and fix, separated by tabs ------------------------------------
FOUND='' # the levels of this check's findings
# shellcheck disable=SC2031 # NAME is the running check's
finding() {
  FOUND+=" $1"
  printf '%s\t%s\t%s\t%s\n' "$1" "$NAME" "$(tr -s '\t\n' '  ' <<<"$2" | sed 's/ *$//')" "${3:-}"
}
ok() { finding ok "$1"; }
note() { finding note "$1" "$2"; }
problem() { finding problem "$1" "$2"; }
problem_of() { problem "${1%; *}" "${1##*; }"; } # "WHAT; FIX"

names_of_checks() { awk 'NF { print $1 }' <<<"$CHECKS"; }

is_met() { # NEED
  case $1 in
    -) ;;
    root) ((EUID == 0)) ;;
    namespaces) in_temporary_namespaces true 2>/dev/null ;;
    table) (load_topology) 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Print the first of a check's needs that is not met, nothing if all are.
first_unmet_need() { # NEEDS
  local need
  for need in ${1//,/ }; do
    is_met "$need" || { echo "$need" && return; }
  done
}

# Run one check; run_check calls this in another process.
one() { # NAME
  local missing
  NAME=$1
  missing=$(first_unmet_need "$(awk -v name="$NAME" '$1 == name { print $2 }' <<<"$CHECKS")")
  if [[ -n $missing ]]; then finding skipped "$missing"; else "check_$NAME"; fi
}

# A check that hangs or fails becomes a finding itself.
run_check() { # NAME
  local output status=0
  output=$(timeout --kill-after=1 "$TIMEOUT_SECONDS" "$BASH" "$ROOT/scripts/doctor.sh" one "$1" 2>&1 </dev/null) ||
    status=$?
  grep -E $'^(ok|note|problem|skipped)\t' <<<"$output" || true # a check may print no finding
  case $status in
    0) ;;
    124 | 137)
      NAME=$1 note "no answer within $TIMEOUT_SECONDS s" "bash -x scripts/doctor.sh one $1 shows where it waits"
      ;;
    *) NAME=$1 note "the check failed: $(tail -n 1 <<<"$output")" "bash -x scripts/doctor.sh one $1 shows where" ;;
  esac
}

# Run all checks at the same time; print their findings in order.
run_checks() { # NAME...
  local name stream streams=()
  for name; do
    exec {stream}< <(run_check "$name")
    streams+=("$stream")
  done
  for stream in "${streams[@]}"; do
    show_progress "checking $1 ..."
    shift
    cat <&"$stream"
  done | gather_skipped
  show_progress
}

gather_skipped() {
  awk -F '\t' '
    $1 != "skipped" { print; next }
    { checks[$3] = checks[$3] (checks[$3] ? ", " : "") $2; if (!($3 in seen)) { seen[$3]; order[++count] = $3 } }
    END { for (i = 1; i <= count; i++) {
      fix = order[i] == "root" ? "sudo make doctor" : "fix this first, then run sudo make doctor again"
      what = order[i] == "table" ? "a valid table" : order[i]
      printf "note\tskipped\tnot checked without %s: %s\t%s\n", what, checks[order[i]], fix } }'
}

# --- output ---------------------------------------------------------------------------------------

show_text() {
  awk -F '\t' '
    function count(number, noun) { return number + 0 " " noun (number == 1 ? "" : "s") }
    BEGIN { plain = ENVIRON["PLAIN"]; colour["ok"] = ENVIRON["GREEN"]; colour["note"] = ENVIRON["YELLOW"]
      colour["problem"] = ENVIRON["RED"] }
    { found[$1]++; printf "%s%-8s%s %-11s %s\n", colour[$1], $1, plain, $2, $3 }
    $4 != "" { printf "%21sfix: %s\n", "", $4 }
    END { print ENVIRON["BOLD"] count(found["problem"], "problem") ", " count(found["note"], "note") plain }'
}

show_json() { # without jq, which may be missing
  awk -F '\t' '
    function quoted(text) { gsub(/[[:cntrl:]]/, " ", text); gsub(/[\\"]/, "\\\\&", text); return "\"" text "\"" }
    BEGIN { printf "{\"findings\":[" }
    { found[$1]++; printf "%s\n{\"level\":%s,\"check\":%s,\"finding\":%s,\"fix\":%s}",
        (NR > 1 ? "," : ""), quoted($1), quoted($2), quoted($3), $4 == "" ? "null" : quoted($4) }
    END { printf "],\n\"problems\":%d,\"notes\":%d}\n", found["problem"], found["note"] }'
}

check() { # [CHECK...]
  local names=("$@") word findings
  for word; do
    grep -qxF -- "$word" <<<"$(names_of_checks)" || bad_usage "there is no check \"$word\""
  done
  ((${#names[@]} > 0)) || mapfile -t names < <(names_of_checks)
  findings=$(run_checks "${names[@]}")
  [[ -n $findings ]] || findings=$'ok\tall\tno findings'
  if [[ -n $JSON ]]; then show_json; else show_text; fi <<<"$findings"
  ! grep -q ^problem <<<"$findings"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-check} in
  check) check "${@:2}" ;;
  one) one "$2" ;;              # internal: a check in its own process
  try_features) try_features ;; # internal: runs in a temporary namespace
  help)
    print_help
    awk 'NF { name = $1; $1 = $2 = ""; printf "  %-11s%s\n", name, $0 }' <<<"$CHECKS"
    ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
