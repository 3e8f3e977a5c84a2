# shellcheck shell=bash
# Checks of the platform, both in the lab's namespaces and in containers. Sourced after json.sh, if their results are
# also printed as JSON.
# For try_endpoints, the sourcing script defines read_order ID, which prints the order's row from PostgreSQL.

export FAILED=0

# A check has a name, and a DETAIL that may differ from run to run. With BRIEF=1 a section whose checks all passed is
# one line.
SECTION='' PASSED=() BROKEN=''
passed() {                     # NAME [DETAIL]
  set -- "${@//[[:cntrl:]]/?}" # a detail may be what a node answered
  local text=$1
  record check "$SECTION" true "$@"
  [[ -z ${2:-} ]] || printf -v text '%-44s %s' "$1" "$2"
  PASSED+=("$text")
  [[ -n ${BRIEF:-} ]] || echo "  ${GREEN}ok${PLAIN}    $text"
}
failed() { # NAME [DETAIL]
  set -- "${@//[[:cntrl:]]/?}"
  record check "$SECTION" false "$@"
  [[ -z ${BRIEF:-} || -n $BROKEN ]] || echo "$SECTION"
  echo "  ${RED}FAIL${PLAIN}  $1${2:+: $2}"
  FAILED=1 BROKEN=1
}
RECORDS=() # lines for checks_as_json: of a check SECTION, true or false, NAME and DETAIL; of `explain` its arguments
record() {
  local line
  printf -v line '%s\t' "${@//[$'\t\n']/ }"
  RECORDS+=("$line")
}

# check PASSED_TEXT FAILED_TEXT COMMAND...: run the command and report one of the texts.
check() { if "${@:3}"; then passed "$1"; else failed "$2"; fi; }
title() {
  end_section
  SECTION=$* PASSED=() BROKEN=''
  [[ -n ${BRIEF:-} ]] || printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"
}
end_section() {
  [[ -n ${BRIEF:-} && -z $BROKEN && -n ${PASSED[*]} ]] || return 0
  local many="$SECTION: ${#PASSED[@]} checks"
  ((${#PASSED[@]} > 1)) || many=${PASSED[0]}
  echo "  ${GREEN}ok${PLAIN}    $many"
}

# try_endpoints COMMAND...: report the results of `python -m lab.verify`.
try_endpoints() {
  local word text detail complete=''
  while IFS=$'\t' read -r word text detail; do
    case $word in
      title | passed | failed) "$word" "$text" ${detail:+"$detail"} ;;
      why) suggest_explain "$text" ;;
      stored) verify_stored "$text" ;;
      end) complete=1 ;;
    esac
  done < <("$@")
  [[ -n $complete ]] || failed 'the checks ended early; the error is above'
}

verify_stored() { # ORDER
  local row
  row=$(read_order "$1") || row=''
  if [[ $row == 'verify|2|3|89.97' ]]; then
    passed 'PostgreSQL has it' "SELECT ... WHERE id = $1: $row"
  else failed 'PostgreSQL has it' "row of order $1: ${row:-none}"; fi
}

suggest_explain() { # ARGUMENTS of `make explain`
  record explain "$*"
  echo "        why: sudo make explain $*"
}

checks_as_json() {
  printf '%s\n' "${RECORDS[@]}" | jq -Rn --arg topology "$TABLE" --arg seconds "$SECONDS" '
    reduce (inputs | select(length > 0) | split("\t")) as $line ([];
      if $line[0] == "explain" then .[-1].explain += ["sudo make explain \($line[1])"]
      else . + [{section: $line[1], name: $line[3], passed: ($line[2] == "true"),
        detail: ($line[4] | if . == "" then null else . end), explain: []}] end) |
    {topology: $topology, passed: map(select(.passed)) | length, failed: map(select(.passed | not)) | length,
      seconds: ($seconds | tonumber), checks: .}'
}
