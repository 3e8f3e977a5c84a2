# shellcheck shell=bash
# The topology table as bash arrays. After load_topology: TABLE (its path), BRIDGES, NODES, and by name ADDRESS,
# ADDRESS6, NAMESPACE, INTERFACE, PORT (the host's end of the veth pair), BRIDGE, LISTENS, PUBLISHES, RUNS, MTU,
# LINE_OF, LABEL (its name in DNS); NETWORK and NETWORK6 of each bridge. After load_topology_and_services also, from
# services/PROGRAM/service.toml: NEEDS, READY and SECRETS_OF of each program that a node runs, and ENVIRONMENT of each
# node. Sourced.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/lib/live.sh
source "$ROOT/scripts/lib/live.sh"

SCALED=$RUN_DIR/scaled.tsv
[[ ${POLICY:-/} == */* || $POLICY == *.tsv ]] || POLICY=$ROOT/security/$POLICY.tsv
[[ -z ${POLICY:-} ]] || POLICY=$(realpath -m -- "$POLICY") # some readers of the path run in another directory

declare -a BRIDGES=() NODES=()
# shellcheck disable=SC2034 # scripts that source this use them
declare -A ADDRESS=() ADDRESS6=() NAMESPACE=() INTERFACE=() PORT=() BRIDGE=() LISTENS=() PUBLISHES=() RUNS=() MTU=()
# shellcheck disable=SC2034
declare -A LINE_OF=() LABEL=() NETWORK=() NETWORK6=() NEEDS=() READY=() SECRETS_OF=() ENVIRONMENT=()

# Load the table that TOPOLOGY names, else the running lab's, else flat.
load_topology() { load_table ''; }
load_topology_and_services() { load_table '' services; }

# load_table NAME|PATH [services]: read and check a table, or exit with what is wrong in it.
load_table() {
  local declarations
  need_tools python3
  declarations=$(run_python -m lab.topology "${2:-bash}" "$1") || exit 1
  eval "$declarations"
}

addresses_of() { # NODE: print its addresses, one per line, IPv4 first
  echo "${ADDRESS[$1]%/*}"
  [[ ${ADDRESS6[$1]:--} == - || ${ADDRESS6[$1]} == "${ADDRESS[$1]}" ]] || echo "${ADDRESS6[$1]%/*}"
}

in_url() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; } # ADDRESS
host_of() { in_url "${ADDRESS[$1]%/*}"; }                              # NODE or bridge: print its address as in a URL

entry_host() { # NODE: print the host's name or address, as in a URL, at which the host reaches its published ports
  if [[ ${ADDRESS[$1]} == *:* ]]; then host_of "${BRIDGE[$1]}"; else echo localhost; fi
}

nodes_running() { # PROGRAM: print the nodes that run the program, one per line
  local node
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} != "$1" ]] || echo "$node"; done
}

network_cidr() { # ADDRESS of a bridge: 10.1.2.3/16 -> 10.1.0.0/16
  local bridge
  for bridge in "${BRIDGES[@]}"; do [[ ${ADDRESS[$bridge]} != "$1" ]] || echo "${NETWORK[$bridge]}"; done
}

base_table() { # print the table before scaling, or the loaded table
  if [[ $TABLE == "$SCALED" ]]; then sed -n '2s/^# //p' "$TABLE"; else echo "$TABLE"; fi
}

# Print the commands that change a copy of the table, and bring it up with the same policy.
with_own_table() { # SED_SCRIPT
  TOPOLOGY=$TABLE POLICY=${POLICY:-} run_python -m lab.topology own "$1"
}
