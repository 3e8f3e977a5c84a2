# shellcheck shell=bash
# Completion for `make` in this checkout: targets, their variables, and the names that these take. Bash sources it, zsh
# too, after `autoload -U bashcompinit && bashcompinit`; `make install-completion` arranges that. In other folders make
# is completed as before.

_cnet_root=${BASH_SOURCE[0]:-$0} # in zsh $0 is the file that is sourced
_cnet_root=$(cd "${_cnet_root%/*}/.." && pwd)

_cnet_values() { # VARIABLE: the names that it takes
  local table=$_cnet_root/topology/flat.tsv
  [[ ! -r /run/cnet/scaled.tsv ]] || table=/run/cnet/scaled.tsv
  case $1 in
    NODE) awk '$1 == "node" { print $2 }' "$table" ;;
    FROM | TO) awk '$1 == "node" { print $2 } END { print "host"; print "world" }' "$table" ;;
    NS) awk '$1 == "node" { print $3 }' "$table" | sort -u ;;
    PROGRAM) find "$_cnet_root/services" -name service.toml | sed 's|/service.toml$||; s|.*/||' ;;
    TOPOLOGY) find "$_cnet_root/topology" -name '*.tsv' | sed 's|\.tsv$||; s|.*/||' ;;
    NAME)
      sed -n 's/^title = "\(.*\)"/\L\1/p' "$_cnet_root"/faults/catalogue/*/fault.toml |
        sed 's/[^a-z0-9]\+/-/g; s/^-//; s/-$//'
      ;;
  esac
}

_cnet_targets() { sed -n 's/^\([a-z-]*\):.*## .*/\1/p' "$_cnet_root/Makefile"; }

_cnet_variables() { # TARGET: those that the Makefile names with it
  sed -n "/^$1:/,/^\$/p" "$_cnet_root/Makefile" | grep -oE '\b[A-Z]+[=)]' | tr ')' '=' | sort -u
}

_cnet_make() {
  local before=${COMP_LINE:0:$COMP_POINT} word words variable='' target='' one
  if [[ $PWD != "$_cnet_root" ]]; then
    _cnet_elsewhere "$@"
    return
  fi
  word=${before##*[[:space:]]}
  target=$(grep -oE ' [a-z-]+ ' <<<"${before#*make}" | tail -n 1 | tr -d ' ')
  if [[ $word == *=* ]]; then
    variable=${word%%=*} word=${word#*=}
    words=$(_cnet_values "$variable")
  elif [[ -n $target ]]; then words=$(_cnet_variables "$target"); else words=$(_cnet_targets); fi
  COMPREPLY=()
  while IFS= read -r one; do
    [[ -z $one || $one != "$word"* ]] || COMPREPLY+=("${ZSH_VERSION:+${variable:+$variable=}}$one")
  done <<<"$words"
  [[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace 2>/dev/null || :
}

_cnet_elsewhere() {
  if declare -F _comp_cmd_make >/dev/null; then _comp_cmd_make "$@"; elif declare -F _make >/dev/null; then
    _make "$@"
  fi
}

complete -o default -F _cnet_make make
