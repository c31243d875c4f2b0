#!/usr/bin/env bash
# Checks deploy/prometheus/ with promtool: configuration, rules, and tests of the rules.
#
#   scripts/check-prometheus.sh                 configuration, rules, rule tests
#   scripts/check-prometheus.sh scrape.txt      also a saved scrape
#   curl -s localhost:8081/metrics | scripts/check-prometheus.sh -
#
# Fails at the first problem, and without promtool (Debian: apt-get install prometheus).
set -euo pipefail

if ! command -v promtool >/dev/null; then
  echo 'promtool is missing, so nothing was checked: apt-get install prometheus' >&2
  exit 1
fi

usage() {
  echo 'usage: scripts/check-prometheus.sh [SCRAPE | -]' >&2
  exit 64
}
[ $# -le 1 ] || usage
scrape=''
case "${1:-}" in
  '') ;;
  -) scrape=$(cat) ;;
  -*) usage ;;
  *) scrape=$(cat -- "$1") ;;
esac
cd "$(dirname "$0")/../deploy/prometheus"

# Checks the configuration and every rule file in it.
promtool check config --lint=all --lint-fatal prometheus.yml
# The tests allocate much and keep little: a fifth of their time went into garbage collection.
GOGC=400 promtool test rules tests/*.yml

[ $# -eq 1 ] || exit 0

# Exit code 3 means "parsed, but against the conventions", as three of prom-client's default metrics are (gauges called
# _total). So problems of all metrics are printed, and those of evproxy_ metrics fail.
status=0
lint=$(promtool check metrics <<<"$scrape" 2>&1) || status=$?
[ -z "$lint" ] || echo "$lint" >&2
if [ $status -ne 0 ] && [ $status -ne 3 ]; then
  echo 'the scrape cannot be read' >&2
  exit 1
fi
if grep -q '^evproxy_' <<<"$lint"; then
  echo 'the scrape has evproxy_ metrics that are against the conventions' >&2
  exit 1
fi
count=$(grep -c '^evproxy_' <<<"$scrape" || true)
if [ "$count" -eq 0 ]; then
  echo 'the scrape has no evproxy_ metric' >&2
  exit 1
fi
echo "the scrape is in order: $count evproxy_ series"
