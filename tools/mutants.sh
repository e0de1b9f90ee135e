#!/usr/bin/env bash
# Plants small bugs, one at a time, in what decides, and asks whether the tests of that crate notice.
# Score: noticed / (noticed + missed); what does not compile counts for nothing, what runs for ever is noticed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# NAME PACKAGE TESTS FILES...: TESTS is `lib` where the other tests need whole clusters, `all` otherwise.
areas() {
  cat <<'AREAS'
deployment   orchestrator lib services/orchestrator/src/heart/**
runner       agents       lib services/agents/src/runner/**
audit        audit        lib services/audit/src/heart/**
experts      experts      lib services/experts/src/heart/**
fence        platform     lib libs/platform/src/fence.rs libs/platform/src/fence/**
judges       stats        all libs/stats/src/**
verifier     certificate  all libs/certificate/src/verify/** libs/certificate/src/rules/**
ledger       ledger       all libs/ledger/src/**
AREAS
}
usage() {
  cat <<USAGE
usage: tools/mutants.sh [--share K/N] [--list] [AREA...]

  --share K/N   only the K-th of N equal parts (from 0), spread over all places; default 0/1, everything: many hours
  --list        says which bugs would be planted, and stops
  AREA          some of: $(areas | awk '{ printf "%s%s", (NR > 1 ? ", " : ""), $1 }'); default all

What was missed is listed by place. Everything is kept in target/mutants/AREA/mutants.out/. Exit status: 0 when each area
scored at least 90 %, 1 when one did not, 2 for a wrong option. Needs tools/setup.sh --measure.
USAGE
}

share=0/1 list=no wanted=()
while [ $# -gt 0 ]; do
  case "$1" in
    --share) share=${2:-}; shift $(($# > 1)) ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "mutants: unknown option $1" >&2; usage >&2; exit 2 ;;
    *)
      areas | awk '{ print $1 }' | grep -qxF -- "$1" || { echo "mutants: unknown area $1" >&2; usage >&2; exit 2; }
      wanted+=("$1") ;;
  esac
  shift
done
[[ $share =~ ^[0-9]+/[1-9][0-9]*$ ]] && [ "${share%/*}" -lt "${share#*/}" ] \
  || { echo "mutants: --share ${share:-(none)} is not K/N with K below N, such as 0/20" >&2; exit 2; }
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(areas | awk '{ print $1 }')
program=.tools/bin/cargo-mutants
[ -x "$program" ] || { echo "mutants: no cargo-mutants: run tools/setup.sh --measure" >&2; exit 1; }
if [ -z "${CODE_NATS_SERVER:-}" ] && [ -x .tools/bin/nats-server ]; then export CODE_NATS_SERVER=$PWD/.tools/bin/nats-server; fi

folder=${CARGO_TARGET_DIR:-$PWD/target}/mutants
# Each area is measured in a copy of the tree; what all copies build alike is built once.
export CARGO_TARGET_DIR=$folder/build
failed=no rows=()
for area in "${wanted[@]}"; do
  read -r _ package tests files < <(areas | awk -v area="$area" '$1 == area')
  arguments=(mutants --package "$package" --output "$folder/$area" --sharding round-robin --shard "$share" --no-shuffle
    --colors never --exclude '**/tests.rs' --exclude '**/tests/**')
  set -f; for file in $files; do arguments+=(--file "$file"); done; set +f
  if [ "$list" = yes ]; then "$program" "${arguments[@]}" --list; continue; fi
  mkdir -p "$folder/$area"
  [ "$tests" = all ] || arguments+=(--cargo-test-arg=--lib)
  echo "+ cargo ${arguments[*]}"
  # Status 2: some were missed; 3: some ran for ever. Neither is an error of the tool.
  status=0; "$program" "${arguments[@]}" || status=$?
  case $status in 0 | 2 | 3) ;; *) echo "mutants: $area could not be measured, status $status" >&2; failed=yes; continue ;; esac
  out=$folder/$area/mutants.out
  count() { wc -l <"$out/$1.txt" | tr -d ' '; }
  caught=$(($(count caught) + $(count timeout))) missed=$(count missed)
  score=$(awk -v c="$caught" -v m="$missed" 'BEGIN { printf "%.1f", (c + m) ? 100 * c / (c + m) : 100 }')
  rows+=("$(printf '%-12s %8d %8d %8d %11d %8s %%' "$area" $((caught + missed + $(count unviable))) "$caught" "$missed" "$(count unviable)" "$score")")
  awk -v s="$score" 'BEGIN { exit !(s < 90) }' && failed=yes
  sed "s/^/missed: /" "$out/missed.txt"
done
[ "$list" = no ] || exit 0
printf '\n%-12s %8s %8s %8s %11s %10s\n' area planted noticed missed 'not compiled' score
printf '%s\n' "${rows[@]}"
[ "$failed" = no ] || { echo "mutants: FAILED: an area is below 90 % or was not measured"; exit 1; }
