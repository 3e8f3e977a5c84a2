#!/usr/bin/env bash
# The topology table: check it, or print it.
#
#   scripts/topology.sh dump|check|running|help [TABLE]    see lab/topology/__main__.py

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"

run_python -m lab.topology "$@"
