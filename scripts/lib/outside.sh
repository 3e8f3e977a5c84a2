# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Create a namespace outside the lab for a proof: it has a veth pair to the host and no route to the nodes, and is
# deleted when the script ends. It has IPv6 addresses if a bridge of the table has one: OUTSIDE6 is empty otherwise.
# FORWARDS6 is empty if this kernel forwards no IPv6, so that only packets on one link can be tried. Sourced.

# shellcheck source=scripts/lib/forwarding.sh
source "$ROOT/scripts/lib/forwarding.sh"

OUTSIDE=198.51.100.2 HOST_FOR_OUTSIDE=198.51.100.1 OUTSIDE_INTERFACE=uplink # TEST-NET-2, RFC 5737
OUTSIDE6='' HOST_FOR_OUTSIDE6='' FORWARDS6=''
export OUTSIDE HOST_FOR_OUTSIDE OUTSIDE6 HOST_FOR_OUTSIDE6 OUTSIDE_INTERFACE FORWARDS6

# The outside namespace replaces the network behind the default routes: forward it only if the uplinks forward.
uplinks_forward() {
  local interface
  for interface in $(uplinks); do forwards "$interface" || { echo 0 && return; }; done
  echo 1
}

uplinks_forward6() {
  local interface
  for interface in $(uplinks 6); do forwards6 "$interface" || { echo 0 && return; }; done
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
  read_interfaces
  ((${#BRIDGES6[@]} == 0)) || add_outside_ipv6
  ip link set cnet-outside up
  ip -n "$OUTSIDE_NAMESPACE" -batch - <<EOF
link set lo up alias "cnet $OUTSIDE_NAMESPACE"
addr add $OUTSIDE/30 dev $OUTSIDE_INTERFACE
link set $OUTSIDE_INTERFACE up
EOF
}

# Both ends get an address without duplicate address detection. The host's end also gets a link-local one, without which
# the kernel sends no neighbour solicitation for a packet that it forwards (ndisc_send_ns).
add_outside_ipv6() {
  local network
  network=$(free_network6)
  HOST_FOR_OUTSIDE6=${network}1 OUTSIDE6=${network}2
  ip link set cnet-outside addrgenmode none
  ip addr add "$HOST_FOR_OUTSIDE6/126" dev cnet-outside nodad
  ip addr add fe80::1/64 dev cnet-outside nodad
  if can_forward_one6 || forwards6 all; then FORWARDS6=1; fi
  ! can_forward_one6 || sysctl -qw "net/ipv6/conf/cnet-outside/force_forwarding=$(uplinks_forward6)"
  ip -n "$OUTSIDE_NAMESPACE" link set "$OUTSIDE_INTERFACE" addrgenmode none
  ip -n "$OUTSIDE_NAMESPACE" addr add "$OUTSIDE6/126" dev "$OUTSIDE_INTERFACE" nodad
}

# Print a network for documentation (RFC 3849) that overlaps with no route of the host but the default routes.
free_network6() {
  local number network overlapping
  for number in {1..9}; do
    network=2001:db8:c$number::
    overlapping=$(for how in root match; do ip -6 -j route show table all "$how" "$network/126"; done |
      jq -r '.[] | .dst | select(IN("default", "::/0", "::/1", "8000::/1") | not)')
    [[ -n $overlapping ]] || { echo "$network" && return; }
  done
  die "no free IPv6 network for the outside namespace: the host has routes to 2001:db8:c1:: to 2001:db8:c9::;" \
    "remove one"
}

# For attacks only: make the host the default gateway of the outside namespace.
add_route_to_lab() {
  ip -n "$OUTSIDE_NAMESPACE" route add default via "$HOST_FOR_OUTSIDE"
  [[ -z $OUTSIDE6 ]] || ip -n "$OUTSIDE_NAMESPACE" route add default via "$HOST_FOR_OUTSIDE6"
}
