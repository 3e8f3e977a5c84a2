#!/usr/bin/env bash
# The topology table: check it, or print it.
#
#   scripts/topology.sh dump [TABLE]    the table, columns in standard order, one tab between them
#   scripts/topology.sh check [TABLE]   silent when valid; else FILE:LINE: COLUMN: reason, exit 1
#   scripts/topology.sh running         the tables of the running lab, one a line
#   scripts/topology.sh help
#
# TABLE is a name in topology/ or a path; without it: TOPOLOGY, else the running lab's table, else flat.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"

case ${1:-help} in
  dump | check | running) run_python -m lab.topology "$@" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
