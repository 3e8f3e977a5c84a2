# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Name resolution: every namespace uses the registry's DNS. `ip netns exec NS` mounts /etc/netns/NS/resolv.conf over
# /etc/resolv.conf. Sourced after topology.sh.

RESOLVERS=/etc/netns
MARK='# cnet: names of the lab, and what its registry forwards; scripts/services.sh down removes this file'

answers_dns() { [[ ,${LISTENS[$1]}, == *,53/udp,* ]]; } # NODE

# Print the host's resolvers that a namespace can reach: not systemd's stub on loopback, but those it forwards to.
resolvers() {
  local file=/run/systemd/resolve/resolv.conf
  [[ -r $file ]] || file=/etc/resolv.conf
  awk '$1 == "nameserver" && $2 ~ /^[0-9.]+$/ && $2 !~ /^127\./ { print $2 }' "$file" 2>/dev/null | paste -sd, || :
}

dns_addresses() { # print the addresses of the first registry that answers DNS, on one line
  local node
  for node in $(nodes_running service-registry); do
    answers_dns "$node" || continue
    # IPv4 first: a resolver waits a second before it asks the next address.
    addresses_of "$node" | paste -sd' '
    return
  done
}

resolver_file() { # ADDRESSES
  # shellcheck disable=SC2086 # a line for each address
  printf '%s\n' "$MARK" && printf 'nameserver %s\n' $1 && echo 'options timeout:1 attempts:2'
}

our_resolvers() { grep -lxF -- "$MARK" "$RESOLVERS"/*/resolv.conf 2>/dev/null || :; }

is_foreign() { [[ -e $1 ]] && ! grep -qxF -- "$MARK" "$1"; } # FILE
foreign_in_words() {                                         # FILE
  echo "$1 is not the lab's (its first line is not the lab's), and the lab needs that path:" \
    "sudo mv $1 /etc/resolv.conf.$(basename "${1%/*}")"
}

check_names() { # refuse to replace a foreign resolv.conf of a namespace of the lab
  local node file
  [[ -n $(dns_addresses) ]] || return 0
  for node in "${NODES[@]}"; do
    file=$RESOLVERS/${NAMESPACE[$node]}/resolv.conf
    ! is_foreign "$file" || die "$(foreign_in_words "$file")"
  done
}

write_names() {
  local node addresses file command written=0
  addresses=$(dns_addresses)
  [[ -n $addresses ]] || return 0
  command="echo nameserver $addresses"
  [[ $addresses != *' '* ]] || command="printf 'nameserver %s\n' $addresses"
  for node in "${NODES[@]}"; do
    file=$RESOLVERS/${NAMESPACE[$node]}/resolv.conf
    [[ $(cat "$file" 2>/dev/null) != "$(resolver_file "$addresses")" ]] || continue
    written=$((written + 1))
    [[ -n ${BRIEF:-} ]] || echo_command "$command >$file"
    mkdir -p "${file%/*}"
    resolver_file "$addresses" >"$file.cnet"
    mv "$file.cnet" "$file"
  done
  [[ -z ${BRIEF:-} || $written == 0 ]] ||
    echo_command "$command >$RESOLVERS/NAMESPACE/resolv.conf, in $written namespaces"
  remove_other_names
}

remove_other_names() { # remove files of nodes that are no longer in the table
  local file namespace
  for file in $(our_resolvers); do
    namespace=${file%/resolv.conf} namespace=${namespace##*/}
    [[ " ${NAMESPACE[*]} " == *" $namespace "* ]] || remove_name "$file"
  done
}

remove_name() { # FILE
  run rm -f "$1"
  rmdir --ignore-fail-on-non-empty "${1%/*}"
}

remove_names() { # remove incomplete files of a killed run too
  local file namespace
  for file in $(our_resolvers) "$RESOLVERS"/*/resolv.conf.cnet; do
    [[ ! -e $file ]] || remove_name "$file"
  done
  for namespace in "${NAMESPACE[@]}"; do
    [[ ! -d $RESOLVERS/$namespace ]] || rmdir --ignore-fail-on-non-empty "$RESOLVERS/$namespace"
  done
  [[ ! -d $RESOLVERS ]] || rmdir --ignore-fail-on-non-empty "$RESOLVERS"
}

names_drift() { # one line for each namespace that does not use the registry's DNS
  local node addresses file
  addresses=$(dns_addresses)
  [[ -n $addresses ]] || return 0
  for node in "${NODES[@]}"; do
    file=$RESOLVERS/${NAMESPACE[$node]}/resolv.conf
    if is_foreign "$file"; then
      echo "${YELLOW}foreign${PLAIN}  $(foreign_in_words "$file")"
    elif [[ $(cat "$file" 2>/dev/null) != "$(resolver_file "$addresses")" ]]; then
      echo "${RED}missing${PLAIN}  namespace ${NAMESPACE[$node]} uses $addresses for DNS"
    fi
  done
}
