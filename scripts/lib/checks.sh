# shellcheck shell=bash
# Checks of the platform, both in the lab's namespaces and in containers. Sourced.
# For try_endpoints, the sourcing script defines read_order ID, which prints the order's row from PostgreSQL.

export FAILED=0

# With BRIEF=1 a section whose checks all passed is one line.
SECTION='' PASSED=() BROKEN=''
passed() {
  PASSED+=("$*")
  [[ -n ${BRIEF:-} ]] || echo "  ${GREEN}ok${PLAIN}    $*"
}
failed() {
  [[ -z ${BRIEF:-} || -n $BROKEN ]] || echo "$SECTION"
  echo "  ${RED}FAIL${PLAIN}  $*"
  FAILED=1 BROKEN=1
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
  local word text complete=''
  while read -r word text; do
    case $word in
      title | passed | failed) "$word" "$text" ;;
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
  check "PostgreSQL has it: SELECT ... WHERE id = $1: $row" "PostgreSQL's row of order $1: ${row:-none}" \
    [ "$row" = 'verify|2|3|89.97' ]
}

suggest_explain() { echo "        why: sudo make explain $*"; } # ARGUMENTS of `make explain`
