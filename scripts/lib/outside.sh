# shellcheck shell=bash
# An outside of one's own for a proof: a namespace on a wire to the host, that knows no way to the nodes. It goes
# away with the script. Sourced.

OUTSIDE=198.51.100.2 HOST_FOR_OUTSIDE=198.51.100.1 OUTSIDE_INTERFACE=uplink # TEST-NET-2, RFC 5737
export OUTSIDE HOST_FOR_OUTSIDE OUTSIDE_INTERFACE

# It stands for what is behind the host's way out, so its packets are forwarded only where those would be.
way_out_forwards() {
  local interface
  for interface in $(ways_out); do forwards "$interface" || { echo 0 && return; }; done
  echo 1
}

make_outside() {
  # A killed proof leaves these.
  [[ -z $(ip link show dev cnet-outside group "$LINK_GROUP" 2>/dev/null) ]] || ip link del cnet-outside
  [[ ! -e /run/netns/$OUTSIDE_NAMESPACE ]] || ip netns del "$OUTSIDE_NAMESPACE"
  ip netns add "$OUTSIDE_NAMESPACE"
  defer ip netns del "$OUTSIDE_NAMESPACE"
  ip link add cnet-outside group "$LINK_GROUP" type veth peer name "$OUTSIDE_INTERFACE" netns "$OUTSIDE_NAMESPACE"
  defer ip link del cnet-outside
  ip addr add "$HOST_FOR_OUTSIDE/30" dev cnet-outside
  sysctl -qw "net/ipv4/conf/cnet-outside/forwarding=$(way_out_forwards)"
  ip link set cnet-outside up
  ip -n "$OUTSIDE_NAMESPACE" -batch - <<EOF
link set lo up alias "cnet $OUTSIDE_NAMESPACE"
addr add $OUTSIDE/30 dev $OUTSIDE_INTERFACE
link set $OUTSIDE_INTERFACE up
EOF
}

# For attacks only: make the host the default gateway of the outside namespace.
add_route_to_lab() { ip -n "$OUTSIDE_NAMESPACE" route add default via "$HOST_FOR_OUTSIDE"; }
