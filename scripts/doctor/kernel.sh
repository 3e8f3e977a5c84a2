# shellcheck shell=bash
# doctor: kernel features, each tried. Sourced.

in_temporary_namespaces() { # COMMAND...
  local user=()
  ((EUID == 0)) || user=(--user --map-root-user)
  unshare --net --mount "${user[@]}" "$@"
}

# LEVEL of a failure | what | kernel module | CONFIG_ | command. Only the policies of phase 4 need those with `note`.
FEATURES='
problem|network namespaces|-|NET_NS|ip netns add probe
problem|veth pairs|veth|VETH|ip link add probe0 group 1 type veth peer name probe1 netns probe
problem|bridges|bridge|BRIDGE|ip link add probebr type bridge
problem|bridge ports|bridge|BRIDGE|ip link set probe0 master probebr
problem|the filter table|nft_compat (iptable_filter)|NFT_COMPAT (IP_NF_FILTER)|iptables -N PROBE
problem|the mangle table|nft_compat (iptable_mangle)|NFT_COMPAT (IP_NF_MANGLE)|iptables -t mangle -N PROBE
problem|the nat table|nft_chain_nat (iptable_nat)|NFT_NAT (IP_NF_NAT)|iptables -t nat -N PROBE
problem|comments|xt_comment|NETFILTER_XT_MATCH_COMMENT|iptables -A PROBE -m comment --comment probe
problem|connection tracking|xt_conntrack|NETFILTER_XT_MATCH_CONNTRACK|iptables -A PROBE -m conntrack --ctstate DNAT
problem|connection limits|xt_connlimit|NETFILTER_XT_MATCH_CONNLIMIT|iptables -A PROBE -m connlimit --connlimit-above 9
problem|address types|xt_addrtype|NETFILTER_XT_MATCH_ADDRTYPE|iptables -A PROBE -m addrtype --dst-type LOCAL
problem|DNAT|xt_nat|NETFILTER_XT_NAT|iptables -t nat -A PREROUTING -p tcp -j DNAT --to-destination :1
problem|MASQUERADE|xt_MASQUERADE|NETFILTER_XT_TARGET_MASQUERADE|iptables -t nat -A POSTROUTING -j MASQUERADE
note|the security table|nft_compat (iptable_security)|NFT_COMPAT (IP_NF_SECURITY)|iptables -t security -N PROBE
note|ebtables|nf_tables (nft_compat)|NF_TABLES_BRIDGE|ebtables -t nat -N PROBE
note|hashlimit|xt_hashlimit|NETFILTER_XT_MATCH_HASHLIMIT|try_hashlimit
note|NFLOG|xt_NFLOG|NETFILTER_XT_TARGET_NFLOG|iptables -A PROBE -j NFLOG
note|u32|xt_u32|NETFILTER_XT_MATCH_U32|iptables -A PROBE -m u32 --u32 0=0
note|IPv6 hop limits|xt_hl|NETFILTER_XT_MATCH_HL|try_ipv6 -m hl --hl-eq 255
note|IPv6 extension headers|ip6t_ipv6header|IP6_NF_MATCH_IPV6HEADER|try_ipv6 -m ipv6header --header hop --soft
note|the IPv6 security table|nft_compat (ip6table_security)|NFT_COMPAT (IP6_NF_SECURITY)|try_ipv6 -t security
note|physdev|xt_physdev|NETFILTER_XT_MATCH_PHYSDEV|try_physdev
note|bridge filtering by bridge|br_netfilter|BRIDGE_NETFILTER|try_bridge_filtering
'

try_hashlimit() { iptables -A PROBE -m hashlimit --hashlimit-above 1/min --hashlimit-name probe; }

# The policies need these only for a table with IPv6 addresses, which a kernel without IPv6 cannot have.
try_ipv6() { [[ ! -d /proc/sys/net/ipv6 ]] || ip6tables -A OUTPUT "$@"; }

# xt_physdev loads br_netfilter, which would send other bridges' packets through iptables.
try_physdev() { [[ ! -d /proc/sys/net/bridge ]] || iptables -A PROBE -m physdev --physdev-is-bridged; }

try_bridge_filtering() {
  ip link set probebr type bridge nf_call_iptables 1
  ip -j -d link show probebr | jq -e '.[0].linkinfo.info_data.nf_call_iptables == 1'
}

# In the temporary namespace: print each failure as LEVEL|WHAT|MODULE|CONFIG|WHY.
try_features() {
  local level what module config command why
  mount -t tmpfs tmpfs /run
  while IFS='|' read -r level what module config command; do
    [[ -n $level ]] || continue
    # shellcheck disable=SC2086 # words
    why=$($command 2>&1 </dev/null) || echo "$level|$what|$module|$config|$(grep . <<<"$why" | sed -n 1p)"
  done <<<"$FEATURES"
}

check_kernel() {
  local failed level what module config why
  failed=$(in_temporary_namespaces "$BASH" "$ROOT/scripts/doctor.sh" try_features)
  [[ -n $failed ]] || ok "tried: $(awk -F '|' 'NF { printf "%s%s", comma, $2; comma = ", " }' <<<"$FEATURES")"
  while IFS='|' read -r level what module config why; do
    [[ -z $level ]] || finding "$level" "no $what ($why)" "sudo modprobe $module, or a kernel with CONFIG_$config"
  done <<<"$failed"
}

check_bridging() {
  local switch=/proc/sys/net/bridge/bridge-nf-call-iptables
  if [[ -e $switch && $(<"$switch") == 1 ]]; then
    note "br_netfilter passes frames of all bridges to iptables: FORWARD also filters between nodes of one bridge" \
      "nothing to do: the lab's rules accept its nodes' packets; your own rules in FORWARD match them too"
  elif [[ -e $switch ]]; then
    ok "br_netfilter is available and off: the policies switch it on for the lab's bridges only"
  elif command -v modprobe >/dev/null && modprobe --dry-run --quiet br_netfilter; then
    ok "br_netfilter is not loaded: frames between nodes do not pass iptables until the policies load it"
  else
    note "no br_netfilter: the lab works, but no policy can filter between nodes of one bridge" \
      "sudo modprobe br_netfilter, or a kernel with CONFIG_BRIDGE_NETFILTER"
  fi
}
