# shellcheck shell=bash
# Read from the running system what is up and how the host forwards. Sourced after common.sh.

BEFORE_UP=$RUN_DIR/before-up # the state before `up`: see rules.sh

PYTHON=/usr/bin/python3 # the distribution's own starts faster than another one or one in .venv
[[ -x $PYTHON ]] || PYTHON=python3
# Run a module of lab/ with the standard library alone, in any directory; errors begin with the script's name.
run_python() { SCRIPT=$SCRIPT PYTHONPATH=$ROOT "$PYTHON" -PsS "$@"; }

running_tables() { run_python -m lab.topology running; } # print one table per line
running_table() {                                        # print the first running table
  local tables
  tables=$(running_tables)
  echo "${tables%%$'\n'*}"
}

bridges_up() { ip -j link show group "$LINK_GROUP" type bridge 2>/dev/null | jq -r '.[].ifname // empty'; }

# Print the options with which a bridge passes its frames to the rules (1) or not (0); without them a packet between two
# ports passes no rule of iptables (ip-link(8), bridge type). The setting for all bridges, the sysctl
# net.bridge.bridge-nf-call-iptables, stays as it is.
filtering() { echo "nf_call_iptables $1 nf_call_ip6tables $1 nf_call_arptables $1"; } # 0|1

# The policy's rules are loaded; they then filter every bridge of the lab from its creation.
policy_in_force() { iptables-save 2>/dev/null | grep '^:CNET-FROM-NODES ' >/dev/null; }

# A policy was loaded and not taken down since, even if its rules were deleted.
policy_is_wanted() { policy_in_force || [[ -e $BEFORE_UP.policy ]]; }

# Print the interfaces of the host's default routes, in any table; a VPN may have its route in two halves.
uplinks() { # [4|6]
  ip -j "-${1:-4}" route show table all | jq -r '[.[] | select((.type // "unicast") == "unicast") |
    select(.dst | IN("default", "0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")) | .dev, .nexthops[]?.dev | values] |
    unique[]'
}

forwards() { [[ $(cat "/proc/sys/net/ipv4/conf/$1/forwarding" 2>/dev/null) == 1 ]]; } # INTERFACE|all

processes_in() { # NAMESPACE...: print "PID NAMESPACE" for each process in the namespaces
  (($# == 0)) || stat -Lc '%i %n' "${@/#//run/netns/}" /proc/[0-9]*/ns/net 2>/dev/null | awk '
    { split($2, part, "/") }
    part[2] == "run" { names[$1] = part[4] }
    part[2] == "proc" && $1 in names { print part[3], names[$1] }' || : # some ended meanwhile
}
