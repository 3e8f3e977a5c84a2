#!/usr/bin/env bash
# The state of a sandboxed host with a lab: save it, restore it, compare with it. For `reset` of an exercise.
#
#   faults/exercises/state.sh save FOLDER      write the state
#   faults/exercises/state.sh restore FOLDER   make the host as it was, whatever was changed by hand
#   faults/exercises/state.sh diff FOLDER      print what differs; exit 1 if anything does
#
# restore replaces every firewall rule and network setting of the host, so it refuses to run outside a sandbox.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/topology.sh"

RULE_TOOLS=(iptables ip6tables ebtables)
declare -A NFT_FAMILY=([iptables]=ip [ip6tables]=ip6 [ebtables]=bridge)
FILES=(/etc/hosts /etc/resolv.conf /etc/nsswitch.conf /etc/netns)
RESTLESS='nf_conntrack_count|nf_conntrack_max|random|\.neigh\.|netns_|tcp_fastopen_key|somaxconn_'

without_counters() { sed -E 's/^\[[0-9:]*\] //; s/ \[[0-9]+:[0-9]+\]$//; /^#/d'; }
rules_of() { { "$1-save" 2>/dev/null || :; } | without_counters; } # TOOL

# Tables of nft that no tool of RULE_TOOLS made.
IPTABLES='^table (ip6?|bridge|arp) (filter|nat|mangle|raw|security|broute)$'
native_tables() { nft list tables 2>/dev/null | grep -vE "$IPTABLES" || :; }

settings() { sysctl -a 2>/dev/null | grep '^net\.' | grep -vE "$RESTLESS" | sort; }

# What ip -d link says of a link and does not change by itself.
LINK_WORDS=' (mtu|master|link\/ether|nf_call_[a-z0-9]+|stp_state|isolated|learning|flood|hairpin|bcast_flood|state'
LINK_WORDS+='|alias|vlan_filtering) [^ ]+'

# Links, addresses, routes, rules, permanent neighbours and qdiscs of the host or a namespace, without numbers
# that change.
network_of() { # [NAMESPACE]
  local in=(${1:+-n "$1"})
  ip "${in[@]}" -o -d link | awk -v words="$LINK_WORDS" '
    { sub(/@.*/, "", $2); line = "link " $2 " " $3
      for (rest = $0; match(rest, words); rest = substr(rest, RSTART + RLENGTH))
        line = line substr(rest, RSTART, RLENGTH)
      if (line ~ / master /) sub(/ link\/ether [^ ]+/, "", line) # of a port it is random, and new with each veth pair
      print line }'
  ip "${in[@]}" -o -4 addr | awk '{ print "addr", $2, $4 }'
  printf '%s\n' 'route show table all' rule 'neigh show nud permanent' | ip "${in[@]}" -batch -
  tc "${in[@]}" qdisc show | sed -E 's/qdisc ([a-z]+) [0-9a-f]+:/qdisc \1/; /noqueue|pfifo_fast/d'
  bridge "${in[@]}" fdb show 2>/dev/null | grep -E 'static|sticky' || :
}

print_state() {
  local name tool
  network_of | sort | sed 's/^/host: /'
  for name in $(ip netns list | awk '{ print $1 }' | sort); do
    network_of "$name" | sort | sed "s/^/$name: /"
    { nsenter --net="/run/netns/$name" -- nft list ruleset 2>/dev/null || :; } |
      sed -E "s/packets [0-9]+ bytes [0-9]+//; s/^/$name: nft /"
  done
  for tool in "${RULE_TOOLS[@]}"; do rules_of "$tool" | sed "s/^/$tool: /"; done
  native_tables
  settings
  mount | grep "$ROOT/services" || :
  for name in "${FILES[@]}"; do find "$name" -type f -exec md5sum {} + 2>/dev/null | sort -k 2 || :; done
  df --output=avail "$STATE_DIR" | tail -1 | awk '{ print "disk", ($1 > 8192 ? "free" : "full") }'
}

save() { # FOLDER
  local tool
  mkdir -p "$1/files"
  for tool in "${RULE_TOOLS[@]}"; do "$tool-save" >"$1/$tool" 2>/dev/null || :; done
  native_tables >"$1/native"
  settings >"$1/settings"
  ip -o link | awk -F': ' '{ sub(/@.*/, "", $2); print $2 }' >"$1/links"
  ip rule >"$1/rules"
  cp -a --parents "${FILES[@]}" "$1/files" 2>/dev/null || :
  print_state >"$1/state"
}

need_sandbox() {
  [[ $(hostname) == cnet-sandbox ]] || die "only a sandbox may be restored as a whole; this is $(hostname)"
}

tables_in() { sed -n 's/^\*//p' "$@" | sort; } # FILE: an output of iptables-save

restore_rules() { # FOLDER
  local tool table
  for tool in "${RULE_TOOLS[@]}"; do
    [[ $(rules_of "$tool") != "$(without_counters <"$1/$tool")" ]] || continue
    for table in $(comm -13 <(tables_in "$1/$tool") <("$tool-save" 2>/dev/null | tables_in)); do
      "$tool" -t "$table" -F && "$tool" -t "$table" -X
      nft delete table "${NFT_FAMILY[$tool]}" "$table" 2>/dev/null || : # an empty table of the nft backend
    done
    "$tool-restore" <"$1/$tool"
  done
  while read -r _ table; do
    # shellcheck disable=SC2086 # FAMILY NAME
    [[ -z $table ]] || nft delete table $table
  done < <(comm -13 <(sort "$1/native") <(native_tables | sort))
}

restore_settings() { # FOLDER
  local key value
  while IFS=$'\t' read -r key value; do sysctl -qw "${key//\//.}=$value" 2>/dev/null || :; done < <(
    comm -23 "$1/settings" <(settings) | sed 's/ = /\t/'
  )
}

restore_links() { # FOLDER
  local link
  while read -r link; do [[ -z $link ]] || ip link del "$link" 2>/dev/null || :; done < <(
    comm -13 <(sort "$1/links") <(ip -o link | awk -F': ' '{ sub(/@.*/, "", $2); print $2 }' | sort)
  )
}

restore_routing_rules() { # FOLDER
  local priority words
  while IFS=$':\t' read -r priority words; do
    # shellcheck disable=SC2086 # words
    [[ -z $priority ]] || ip rule del priority "$priority" $words
  done < <(comm -13 <(sort "$1/rules") <(ip rule | sort))
  while IFS=$':\t' read -r priority words; do
    # shellcheck disable=SC2086 # words
    [[ -z $priority ]] || ip rule add priority "$priority" $words
  done < <(comm -23 <(sort "$1/rules") <(ip rule | sort))
}

remove_mounts() { # those on a program's folder: private_copy of commands.sh
  local mounted
  while read -r mounted; do umount -l "$mounted"; done < <(
    mount | awk -v root="$ROOT/services" 'index($3, root) == 1 { print $3 }'
  )
}

# The fault's own repair, which runs before, mostly leaves nothing to restore.
restore() { # FOLDER
  need_sandbox
  remove_mounts
  local file
  rm -f "$STATE_DIR/filler"
  cp -a "$1/files/." / 2>/dev/null || :
  find /etc/netns -type f 2>/dev/null | while read -r file; do [[ -e $1/files$file ]] || rm -f "$file"; done
  load_topology
  export TOPOLOGY=$TABLE
  if compare "$1" >/dev/null; then "$ROOT/scripts/network.sh" up; else restore_host "$1"; fi
  conntrack -F 2>/dev/null # entries from before would pass as established
  "$ROOT/scripts/services.sh" up
}

restore_host() { # FOLDER
  local file
  restore_links "$1"
  restore_routing_rules "$1"
  restore_rules "$1"
  # The lab has no rule in a namespace.
  for file in /run/netns/*; do nsenter --net="$file" -- nft flush ruleset || :; done
  "$ROOT/security/policy.sh" up
  "$ROOT/scripts/network.sh" up
  "$ROOT/scripts/nat.sh" up
  restore_settings "$1"
}

compare() { # FOLDER
  print_state >"$1/state.now"
  diff "$1/state" "$1/state.now"
}

case ${1:-} in
  save | restore) "$1" "$2" >&2 ;;
  diff) compare "$2" ;;
  help | '') print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
