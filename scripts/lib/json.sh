# shellcheck shell=bash disable=SC2034 # SWITCHES and the colours are common.sh's, DOCUMENT is the scripts'
# JSON=1, or --json by hand: standard output has one JSON document, and text goes to standard error.
# docs/reference/json.md has the schemas. Sourced after common.sh.

# Set JSON to 1 or to empty, and WORDS to the arguments without --json.
read_json() { # ARGUMENT...
  local word
  SWITCHES=(JSON) && read_switches
  WORDS=()
  for word; do
    if [[ $word == --json ]]; then JSON=1; else WORDS+=("$word"); fi
  done
}

# With JSON, text is progress: send it to standard error. DOCUMENT is the descriptor of standard output.
DOCUMENT=1
divert_text() {
  [[ -n $JSON ]] || return 0
  exec {DOCUMENT}>&1 1>&2
  DIM='' BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
}

# Convert lines "KIND  TEXT" to objects in a list of this name.
differences_as_json() { # NAME
  jq -Rc --arg name "$1" 'select(length > 0) | index(" ") as $at |
    {($name): {kind: .[:$at], what: (.[$at:] | sub("^ +"; ""))}}'
}
