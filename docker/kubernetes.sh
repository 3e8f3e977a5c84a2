#!/usr/bin/env bash
# The lab for Kubernetes: topology/flat.tsv and security/flat.tsv as manifests in docker/kubernetes/. Needs no cluster.
#
#   docker/kubernetes.sh write   write the manifests anew from the tables
#   docker/kubernetes.sh check   are they what the tables say, and what Kubernetes' own schemas ask for? 1 if not
#   docker/kubernetes.sh help

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
cd "$ROOT"

write() {
  scripts/install.sh dev
  "$VENV/bin/python" -m docker.kubernetes write
  git diff --stat -- docker/kubernetes 2>/dev/null || :
}

check() {
  scripts/install.sh dev
  "$VENV/bin/python" -m docker.kubernetes check
  "$VENV/bin/kubernetes-validate" --strict --quiet docker/kubernetes/*.yaml
  say "$(cat docker/kubernetes/*.yaml | grep -c '^kind:') objects as the tables say, and as Kubernetes' schemas ask for"
}

case ${1:-help} in
  write | check) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
