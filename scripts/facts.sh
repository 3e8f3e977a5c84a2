# shellcheck shell=bash
# The network as a list of facts, one a line: what the table wants, what the kernel has.
# `up` makes the difference go away, `status` names it. Sourced by network.sh.
#
#   bridge BRIDGE                     bridge-address BRIDGE CIDR
#   namespace NS                      veth NS INTERFACE PORT
#   port PORT BRIDGE                  up LINK           (of the host)
#   inside-up NS INTERFACE            address NS INTERFACE CIDR
#   route NS GATEWAY

wanted_facts() {
  local bridge node namespace interface port gateway
  for bridge in "${BRIDGES[@]}"; do
    printf '%s\n' "bridge $bridge" "bridge-address $bridge ${ADDRESS[$bridge]}" "up $bridge"
  done
  for node in "${NODES[@]}"; do
    namespace=${NAMESPACE[$node]} interface=${INTERFACE[$node]} port=${PORT[$node]}
    gateway=${ADDRESS[${BRIDGE[$node]}]%/*}
    printf '%s\n' "namespace $namespace" "veth $namespace $interface $port" "port $port ${BRIDGE[$node]}" "up $port" \
      "inside-up $namespace lo" "address $namespace $interface ${ADDRESS[$node]}" \
      "inside-up $namespace $interface" "route $namespace $gateway"
  done
}

# Names of the host's links that carry the lab's group.
ours_among_links() { ip -j link show group "$LINK_GROUP" | jq -r '.[].ifname // empty'; }

# Namespaces that have a name in the table or hold the other end of one of our pairs.
candidate_namespaces() {
  local tables=''
  ((${#NODES[@]} == 0)) || tables=$(printf '%s\n' "${NAMESPACE[@]}")
  jq -rn --arg tables "$tables" --argjson names "$(ip -j netns list | grep . || echo '[]')" \
    --argjson links "$(ip -j link show group "$LINK_GROUP")" '
      ([$links[].link_netnsid | values]) as $ids | ($tables | split("\n")) as $wanted |
      $names[] | select((.id as $id | $ids | index($id)) or (.name as $name | $wanted | index($name))) | "\(.name) \(.id // "-")"'
}

# {"namespace": NAME, "id": as the host numbers it, "links": [...], "routes": [...]}, the host ("-") first.
live_state() {
  local namespace id links
  printf '{"namespace":"-","links":%s}\n' "$(ip -j -d addr show group "$LINK_GROUP")"
  while read -r namespace id; do
    links=$(ip -n "$namespace" -j addr show)
    printf '{"namespace":"%s","id":"%s","links":%s,"routes":%s}\n' "$namespace" "$id" "$links" \
      "$(ip -n "$namespace" -j -4 route show default)"
  done < <(candidate_namespaces)
}

# A pair's two ends name each other by index; the host's end also by the namespace's id. A namespace by
# a name of ours is ours when it holds such an end, or nothing at all yet.
READ_STATE='
  .[0] as $host | .[1:] as $named |
  (reduce ($named[] | . as $inside | .links[] | select(.link_index) |
    {key: "\($inside.id) \(.ifindex) \(.link_index)", value: "\($inside.namespace) \(.ifname)"}) as $entry ({}; .[$entry.key] = $entry.value)
  ) as $ends |
  ([$host.links[] | select(.ifname) | $ends["\(.link_netnsid) \(.link_index) \(.ifindex)"] | values | split(" ")[0] | {(.): true}] | add) as $holding |
  def busy: .links | any(.ifname and .link_type != "loopback" and (.flags | index("UP")));
  def is_ours: $holding[.namespace] or (busy | not);
'

our_namespaces() { live_state | jq -rs "$READ_STATE"' $named[] | select(is_ours) | .namespace'; }

check_foreign_namespaces() {
  local foreign
  foreign=$(live_state | jq -rs "$READ_STATE"' [$named[] | select(is_ours | not) | .namespace] | join(", ")')
  [[ -z $foreign ]] || die "there is a namespace $foreign that is not the lab's; \`ip netns del\` it, or take another name in $TABLE"
}

live_facts() {
  live_state | jq -rs "$READ_STATE"'
    def cidrs: .addr_info[]? | select(.family == "inet") | "\(.local)/\(.prefixlen)";
    ($host.links[] | select(.ifname) | .ifname as $name |
      (if .linkinfo.info_kind == "bridge"
       then "bridge \($name)", "bridge-address \($name) \(cidrs)"
       else "veth \($ends["\(.link_netnsid) \(.link_index) \(.ifindex)"] // "- -") \($name)",
            (select(.master) | "port \($name) \(.master)") end),
      (select(.flags | index("UP")) | "up \($name)")),
    ($named[] | select(is_ours) | .namespace as $namespace | "namespace \($namespace)",
      (.links[] | select(.ifname) | .ifname as $name |
        (select(.flags | index("UP")) | "inside-up \($namespace) \($name)"),
        (select(.link_type != "loopback") | "address \($namespace) \($name) \(cidrs)")),
      (.routes[] | select(.gateway) | "route \($namespace) \(.gateway)"))'
}

# Sets MISSING and SURPLUS, in the order in which things are made.
compare_facts() {
  local wanted live
  wanted=$(wanted_facts)
  live=$(live_facts)
  mapfile -t MISSING < <(awk 'NR == FNR { live[$0]; next } !($0 in live)' <(printf '%s\n' "$live") <(printf '%s\n' "$wanted"))
  mapfile -t SURPLUS < <(awk 'NR == FNR { wanted[$0]; next } NF && !($0 in wanted)' <(printf '%s\n' "$wanted") <(printf '%s\n' "$live"))
}

in_words() {
  local kind a b c
  read -r kind a b c <<<"$1"
  case $kind in
    bridge) echo "bridge $a" ;;
    bridge-address) echo "address $b on bridge $a" ;;
    up) echo "$a is up" ;;
    namespace) echo "namespace $a" ;;
    veth) echo "veth pair $c (host) = $b (namespace $a)" ;;
    port) echo "$a is a port of bridge $b" ;;
    inside-up) echo "$b is up in namespace $a" ;;
    address) echo "address $c on $b in namespace $a" ;;
    route) echo "default route via $b in namespace $a" ;;
  esac
}
