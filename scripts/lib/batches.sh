# shellcheck shell=bash
# Run many `ip`, `sysctl` and `bridge` commands: shown one by one, run in a few processes. Sourced after live.sh.

BATCHES=$RUN_DIR/batches
COMPLAINTS='' # errors of the last removal; network.sh reads this
export COMPLAINTS

show_commands() { printf "$DIM+ %s$PLAIN\n" "$@"; } # COMMAND...

show_few_commands() { # COMMAND...: print the commands, or only their number if there are many
  if (($# > 20)); then
    echo_command "ip, sysctl and bridge: $# commands; SHOW=1 prints them"
  else
    show_commands "$@"
  fi
}

# run_commands make|remove COMMAND...: show what will be done, then do it.
run_commands() {
  (($# > 1)) || return 0
  if [[ -n ${BRIEF:-} ]]; then show_few_commands "${@:2}"; else show_commands "${@:2}"; fi
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ ! -e $BATCHES ]] || rm -r "$BATCHES" # files of a killed run
  mkdir -p "$BATCHES/inside"
  local -A INSIDE=()
  local HOST='' FORWARDING='' SYSCTLS=() OTHERS=() ORDER=()
  sort_commands "${@:2}"
  write_batches
  "run_batches_to_$1"
  rm -r "$BATCHES"
}

sort_commands() { # COMMAND...: group the commands by the process that will run them
  local command namespace
  for command; do
    case $command in
      'ip -n '*)
        command=${command#ip -n } namespace=${command%% *}
        [[ -n ${INSIDE[$namespace]:-} ]] || ORDER+=("$namespace")
        INSIDE[$namespace]+=${command#* }$'\n'
        ;;
      'ip '*) HOST+=${command#ip }$'\n' ;;
      'bridge '*) FORWARDING+=${command#bridge }$'\n' ;;
      'sysctl -qw '*) SYSCTLS+=("${command#sysctl -qw }") ;;
      *) OTHERS+=("$command") ;;
    esac
  done
}

write_batches() {
  local namespace
  printf %s "$HOST" >"$BATCHES/host"
  printf %s "$FORWARDING" >"$BATCHES/forwarding"
  for namespace in "${ORDER[@]}"; do printf %s "${INSIDE[$namespace]}" >"$BATCHES/inside/$namespace"; done
}

run_batches_to_make() { send_batches 2>"$BATCHES/complaints" || die_with_complaints; }

# The kernel may remove an object first: the links of a deleted namespace, the routes of a deleted address. So judge a
# removal by what still exists, not by the errors of its commands.
run_batches_to_remove() {
  send_batches -force 2>"$BATCHES/complaints"
  COMPLAINTS=$(grep -v '^Command failed' "$BATCHES/complaints" | paste -sd' ') || :
}

# One process for the host's links, one for its bridges' entries, then one for each namespace, as many at a time as
# there are processors.
send_batches() { # [-force]: go on after a command that fails
  local force=$# command settings
  read -ra settings <<<"${SYSCTLS[*]}"
  # shellcheck disable=SC2086 # its words
  for command in "${OTHERS[@]}"; do $command || ((force)) || return; done
  [[ -z $HOST ]] || ip "$@" -batch "$BATCHES/host" || ((force)) || return
  ((${#SYSCTLS[@]} == 0)) || sysctl -qw "${settings[@]}" || ((force)) || return
  [[ -z $FORWARDING ]] || bridge "$@" -batch "$BATCHES/forwarding" || ((force)) || return
  printf '%s\n' "${ORDER[@]}" | xargs -rP "$(nproc)" -I{} ip "$@" -n {} -batch "$BATCHES/inside/{}" || ((force))
}

die_with_complaints() { # ip prints its errors, then "Command failed FILE:LINE": show the errors and that line
  local line words='' file=''
  while read -r line; do
    [[ ! $line =~ ^Command\ failed\ (.*):([0-9]+)$ ]] || { file=${BASH_REMATCH[1]} && break; }
    words+="$line; "
  done <"$BATCHES/complaints"
  [[ -n $file ]] || die "$words"
  line=$(sed -n "${BASH_REMATCH[2]}p" "$file")
  case $file in
    */host) line="ip $line" ;;
    */forwarding) line="bridge $line" ;;
    *) line="ip -n ${file##*/} $line" ;;
  esac
  rm -r "$BATCHES"
  die "${words}the command was: $line"
}
