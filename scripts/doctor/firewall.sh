# shellcheck shell=bash
# doctor: other firewalls on this machine. Sourced.

is_running() { pgrep -x "${1:0:15}" >/dev/null; } # the kernel keeps 15 characters of a name

# Print the iptables backend that is not in use.
other_backend() { if [[ $(iptables -V) == *nf_tables* ]]; then echo iptables-legacy; else echo iptables-nft; fi; }

save_other_backend() {
  local save
  save=$(other_backend)-save
  ! command -v "$save" >/dev/null || "$save" 2>/dev/null || true # a kernel without this backend has no rules in it
}

# Print rules and chains made by `nft` (nftables.service, firewalld, libvirt), not those of iptables-nft.
native_nft() {
  command -v nft >/dev/null && command -v jq >/dev/null || return 0
  nft -j list ruleset 2>/dev/null | jq -c '.nftables[] | (.rule // .chain) as $it |
    select($it and $it.family != "ip6" and $it.family != "arp") |
    select(("\($it.family) \($it.table)" | test("^(ip|bridge) (filter|nat|mangle|raw|security|broute)$")) | not)'
}

check_iptables() {
  local version native
  version=$(iptables -V)
  native=$(native_nft)
  ok "$version, $(count "$(iptables-save | grep -c '^-A')" rule)"
  backend_findings "$(save_other_backend)"
  [[ -z $native ]] || native_findings "$native"
}

backend_findings() { # LINES
  local name rules
  name=$(other_backend)
  rules=$(count "$(grep -c '^-A' <<<"$1")" rule)
  if grep -q '^:FORWARD DROP' <<<"$1"; then
    problem "$name, the other backend, has FORWARD set to DROP and $rules: it drops what the lab forwards" \
      "sudo $name -P FORWARD ACCEPT, or move all rules to one backend (update-alternatives --config iptables)"
  elif [[ $rules != 0\ * ]]; then
    note "$name, the other backend, holds $rules that also apply to packets" \
      "$name-save shows them; if you do not need them, sudo $name -F"
  fi
}

accepts_lab() { # FAMILY TABLE CHAIN with a policy of drop
  local rules bridge
  (load_topology) &>/dev/null || return 1
  load_topology
  rules=$(nft list chain "$@")
  for bridge in "${BRIDGES[@]}"; do
    [[ $rules == *"iifname \"$bridge\" "*accept* && $rules == *"oifname \"$bridge\" "*accept* ]] || return 1
  done
}

native_findings() { # LINES
  local tables rules chain dropping=''
  rules=$(jq -s 'map(select(.rule)) | length' <<<"$1")
  tables=$(jq -rs '[.[] | (.rule // .chain) | "\(.family) \(.table)"] | unique | join(", ")' <<<"$1")
  while read -r chain; do
    # shellcheck disable=SC2086 # its words
    [[ -z $chain ]] || accepts_lab $chain || dropping+="${dropping:+, }$chain"
  done < <(jq -r '.chain | select(. and .hook == "forward" and .policy == "drop") |
    "\(.family) \(.table) \(.name)"' <<<"$1")
  if [[ -n $dropping ]]; then
    problem "the nft chain $dropping drops what no rule accepts: the lab's packets too" \
      "accept the lab's bridges there: sudo nft insert rule $dropping iifname BRIDGE accept, and the same with oifname"
  elif ((rules > 0)); then
    note "nft tables ($tables) hold $(count "$rules" rule) that also apply to packets" \
      "sudo nft list ruleset shows them"
  fi
}

check_firewall() {
  local filter chain tried output=''
  load_topology
  filter=$(save_filter)
  tried=$(tried_answers "$filter")
  ! is_running firewalld || note "firewalld is active: its zones also filter what the lab's bridges forward" \
    "sudo firewall-cmd --zone=trusted --add-interface=BRIDGE for each bridge of the table, when the lab is up"
  ufw_findings
  policy_findings "$filter" "$tried"
  [[ $FOUND != *problem* ]] || return 0
  for chain in FORWARD INPUT OUTPUT; do
    output+="${output:+, }$chain $(policy_of "$chain" "$filter" | grep . || echo ACCEPT)"
  done
  case $tried in
    answered) output+="; the host reaches its nodes (tried)" ;;
    untried*) output+="; whether the host reaches its nodes was not tried: ${tried#* }" ;;
  esac
  ok "policies: $output"
}

ufw_findings() {
  grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf || return 0
  local default
  default=$(grep -s '^DEFAULT_FORWARD_POLICY=' /etc/default/ufw) || default='forward policy unknown'
  note "ufw is active, $default: the lab's rules come before ufw's in FORWARD" \
    "nothing to do; after \`ufw reload\`, sudo make up puts them first again"
}

# The lab's hook is the first rule of FORWARD, so a policy of DROP there does not affect the lab; in INPUT it does.
policy_findings() { # FILTER TRIED
  local closed
  [[ $(policy_of FORWARD "$1") != DROP ]] || grep -q '^:DOCKER-USER ' <<<"$1" ||
    note "the policy of FORWARD is DROP: handled, the lab's rules come first" "nothing to do"
  closed=$(answers_in_words "$2")
  [[ -z $closed ]] || problem_of "$closed"
}

check_docker() {
  local filter policy
  filter=$(save_filter)
  if grep -q '^:DOCKER-USER ' <<<"$filter"; then
    policy=$(policy_of FORWARD "$filter")
    note "Docker is installed, the policy of FORWARD is $policy: handled, \`up\` also adds a rule to DOCKER-USER" \
      "nothing to do"
  elif is_running dockerd; then
    note "Docker runs, but has no DOCKER-USER in this iptables backend" \
      "if nodes do not reach the outside, use one backend for both (update-alternatives --config iptables)"
  fi
}
