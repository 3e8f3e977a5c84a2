# shellcheck shell=bash
# doctor: this machine's network settings. Sourced.

has_strict_reverse_path() { # INTERFACE: the larger value of "all" and INTERFACE applies; 1 is strict, 2 loose
  [[ $(cat /proc/sys/net/ipv4/conf/{all,"$1"}/rp_filter 2>/dev/null | sort -n | tail -1) == 1 ]]
}

stopped_forwarding() { # print interfaces that must forward while the lab is up, and do not
  local interface needed
  needed=$(bridges_up)
  [[ -z $needed ]] || for interface in $needed $(uplinks); do forwards "$interface" || echo "$interface"; done
}

interfaces_without_forwarding() { # other interfaces towards clients that do not forward
  local interface others ours
  ours=" $(uplinks | paste -sd' ') lo "
  others=$(ip -j -4 addr show up scope global |
    jq -r --arg group "$LINK_GROUP" '.[] | select(.ifname and .group != $group) | .ifname')
  for interface in $others; do [[ $ours == *" $interface "* ]] || forwards "$interface" || echo "$interface"; done
}

check_forwarding() {
  local forward=/proc/sys/net/ipv4/ip_forward strict='' device output stopped closed
  for device in $(uplinks); do ! has_strict_reverse_path "$device" || strict+=" $device"; done
  output="ip_forward is $(<"$forward")"
  [[ $(<"$forward") == 1 ]] ||
    output+=" and stays 0: up switches forwarding on only for the lab's bridges and the interfaces of default routes"
  if ((EUID == 0)) && [[ ! -w $forward ]]; then
    problem "$output, and /proc/sys is read-only" \
      "run it outside this container, or start the container with --privileged"
  else
    ok "$output, rp_filter is $([[ -n $strict ]] && echo "strict on$strict" || echo 'not strict')"
  fi
  stopped=$(stopped_forwarding | paste -sd' ') closed=$(interfaces_without_forwarding | paste -sd' ')
  [[ -z $stopped ]] ||
    note "the lab is up, but packets that enter by $stopped are not forwarded" "sudo make up"
  [[ -z $closed ]] ||
    note "clients on $closed do not reach published ports: without a default route, up switches no forwarding on" \
      "sudo sysctl -w net/ipv4/conf/${closed%% *}/forwarding=1" # slashes, because an interface name may contain a dot
  [[ -z $strict || $(uplinks | wc -l) -lt 2 ]] ||
    note "rp_filter is strict on$strict with several default routes: answers that arrive by the other are dropped" \
      "sudo sysctl -w net.ipv4.conf.all.rp_filter=2 (loose)"
}

check_ipv6() {
  if [[ $(cat /proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || echo 1) == 1 ]]; then
    ok "off; the lab does not need it"
  else
    ok "on; the lab publishes no port at [::1], so clients of localhost go on to 127.0.0.1"
  fi
}

check_uplink() {
  local device mtu
  device=$(uplinks | sed -n 1p)
  if [[ -z $device ]]; then
    note "no default route: nodes reach only this machine" \
      "ip route add default via GATEWAY; the proof of masquerading fails until then"
    return
  fi
  mtu=$(ip -j link show dev "$device" | jq '.[0].mtu')
  if ((mtu < 1500)); then
    note "the default route uses $device, MTU $mtu; nodes have 1500: large packets hang where ICMP is filtered" \
      "sudo iptables -t mangle -A FORWARD -o $device -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
  else
    ok "the default route uses $device, MTU $mtu"
  fi
}

host_interfaces() { printf '%s\n' "${BRIDGES[@]}" "${PORT[@]}"; }

# Print a .network file of systemd-networkd that matches one of the lab's interfaces.
matching_network_file() {
  local file pattern interface
  for file in /etc/systemd/network/*.network /run/systemd/network/*.network /usr/lib/systemd/network/*.network; do
    [[ -r $file ]] || continue
    while read -r pattern; do
      # shellcheck disable=SC2053 # a pattern
      for interface in $(host_interfaces); do [[ $interface != $pattern ]] || { echo "$file" && return; }; done
    done < <(sed -nE '/^\[Match\]/,/^\[Network\]/s/^Name=//p' "$file" | tr ' ' '\n')
  done
}

check_managers() {
  local file unmanaged
  load_topology
  if is_running NetworkManager && ! grep -qsE "^unmanaged-devices=.*(${BRIDGES[0]}|veth)" \
    /etc/NetworkManager/NetworkManager.conf /etc/NetworkManager/conf.d/*; then
    unmanaged="$(printf 'interface-name:%s;' "${BRIDGES[@]}")interface-name:veth*"
    note "NetworkManager is running and may configure the lab's interfaces" \
      "in /etc/NetworkManager/conf.d/lab.conf: [keyfile] unmanaged-devices=$unmanaged"
  fi
  file=$(matching_network_file)
  if is_running systemd-networkd && [[ -n $file ]]; then
    note "systemd-networkd is running, and $file matches interfaces of the lab" \
      "add a file before it that matches them, with Unmanaged=yes in [Link]"
  fi
}
