#!/usr/bin/env bash
# Check the manifests in docker/kubernetes/: valid for Kubernetes, and equal to the two tables. Needs no cluster.
#
#   docker/kubernetes.sh check
#   docker/kubernetes.sh help

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"

check() {
  cd "$ROOT"
  scripts/install.sh dev
  "$VENV/bin/kubernetes-validate" --strict --quiet docker/kubernetes/*.yaml
  "$VENV/bin/python" -m pytest --quiet tests/python/test_kubernetes.py
}

case ${1:-help} in
  check) check ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
