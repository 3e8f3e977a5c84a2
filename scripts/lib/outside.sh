# shellcheck shell=bash
# Create a namespace outside the lab for a proof: it has a veth pair to the host and no route to the nodes, and is
# deleted when the script ends. Sourced.

OUTSIDE=198.51.100.2 HOST_FOR_OUTSIDE=198.51.100.1 OUTSIDE_INTERFACE=uplink # TEST-NET-2, RFC 5737
export OUTSIDE HOST_FOR_OUTSIDE OUTSIDE_INTERFACE

# The outside namespace replaces the network behind the default routes: forward it only if the uplinks forward.
uplinks_forward() {
  local interface
  for interface in $(uplinks); do forwards "$interface" || { echo 0 && return; }; done
  echo 1
}

make_outside() {
  # Remove the namespace and the link of a killed proof.
  [[ -z $(ip link show dev cnet-outside group "$LINK_GROUP" 2>/dev/null) ]] || ip link del cnet-outside
  [[ ! -e /run/netns/$OUTSIDE_NAMESPACE ]] || ip netns del "$OUTSIDE_NAMESPACE"
  ip netns add "$OUTSIDE_NAMESPACE"
  defer ip netns del "$OUTSIDE_NAMESPACE"
  ip link add cnet-outside group "$LINK_GROUP" type veth peer name "$OUTSIDE_INTERFACE" netns "$OUTSIDE_NAMESPACE"
  defer ip link del cnet-outside
  ip addr add "$HOST_FOR_OUTSIDE/30" dev cnet-outside
  sysctl -qw "net/ipv4/conf/cnet-outside/forwarding=$(uplinks_forward)"
  ip link set cnet-outside up
  ip -n "$OUTSIDE_NAMESPACE" -batch - <<EOF
link set lo up alias "cnet $OUTSIDE_NAMESPACE"
addr add $OUTSIDE/30 dev $OUTSIDE_INTERFACE
link set $OUTSIDE_INTERFACE up
EOF
}

# For attacks only: make the host the default gateway of the outside namespace.
add_route_to_lab() { ip -n "$OUTSIDE_NAMESPACE" route add default via "$HOST_FOR_OUTSIDE"; }
