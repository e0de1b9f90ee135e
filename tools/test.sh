#!/usr/bin/env bash
# Everything that must be true before a change is taken: set-up, verification, all tests. CI runs exactly this.
# Passes only when verification passed, at least one test ran and none failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
usage: tools/test.sh [--no-verify] [TEST-FILTER...]

  --no-verify     only the tests, for the inner loop
  TEST-FILTER     runs only the tests whose names contain it

environment:
  CI=true           sets up all that any test uses (tools/setup.sh --all); a test that is skipped fails then; at the end
                    each fuzz target runs for a minute
  CODE_NATS_SERVER  the nats-server to test with; default .tools/bin/nats-server
USAGE
}

verify=yes filters=()
for argument in "$@"; do
  case "$argument" in
    --no-verify) verify=no ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "test: unknown option $argument" >&2; usage >&2; exit 2 ;;
    *) filters+=("$argument") ;;
  esac
done

wrong=()
echo "+ tools/setup.sh"
tools/setup.sh
if [ "${CI:-}" = true ]; then
  # Nothing is built twice there: what only speeds up the next build costs time and half of the disk.
  export CARGO_INCREMENTAL=0
  echo "+ tools/setup.sh --all"
  tools/setup.sh --all || { wrong+=(set-up); echo "test: something is missing above; running what can run all the same"; }
fi
if [ -z "${CODE_NATS_SERVER:-}" ] && [ -x .tools/bin/nats-server ]; then
  export CODE_NATS_SERVER=$PWD/.tools/bin/nats-server
fi
echo "test: nats-server is ${CODE_NATS_SERVER:-$(command -v nats-server)}"

if [ "$verify" = yes ]; then
  echo "+ tools/verify.sh"
  tools/verify.sh || { wrong+=(verification); echo "test: verification failed; running the tests all the same"; }
fi

log=$(mktemp)
# Tests that could not run here say so in this file: the runner knows only passed and failed.
CODE_SKIPPED=$(mktemp)
export CODE_SKIPPED
trap 'rm -f "$log" "$CODE_SKIPPED"' EXIT
# The plain text of the log: totals are read from it, so colours must go.
plain() { sed 's/\x1b\[[0-9;]*m//g' "$log"; }

if command -v cargo-nextest >/dev/null 2>&1; then
  echo "+ cargo nextest run --locked --workspace ${filters[*]-}"
  cargo nextest run --locked --workspace --no-tests fail "${filters[@]}" 2>&1 | tee "$log" || wrong+=(tests)
  # It leaves the examples in doc comments out; without any, asking every crate for them is a waste.
  if [ ${#filters[@]} = 0 ] && grep -rqE '^ *//[/!] ```(rust|no_run|should_panic)?$' --include='*.rs' libs services; then
    echo "+ cargo test --locked --workspace --doc --quiet"
    cargo test --locked --workspace --doc --quiet 2>&1 | tee -a "$log" || wrong+=("doc comments")
  fi
  # "Summary [  1.2s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped"
  summary=$(plain | grep -E '^ *Summary \[' | tail -n 1 || true)
  count() { grep -oE "[0-9]+ $1" <<<"$summary" | head -n 1 | cut -d' ' -f1 || true; }
  passed=$(count passed) failed=$(($(count failed) + $(count 'timed out') + 0)) skipped=$(count skipped)
else
  echo "+ cargo test --locked --workspace --no-fail-fast ${filters[*]-}"
  cargo test --locked --workspace --no-fail-fast "${filters[@]}" 2>&1 | tee "$log" || wrong+=(tests)
  passed=0 failed=0 skipped=0
fi
# From cargo's own runner one line per program: "test result: ok. 3 passed; 0 failed; 1 ignored; ..."
sum() { plain | sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" | awk '{ total += $1 } END { print total + 0 }'; }
passed=$((${passed:-0} + $(sum passed))) failed=$((${failed:-0} + $(sum failed))) skipped=$((${skipped:-0} + $(sum ignored)))

# The cluster as containers: what cargo cannot run. Left out with a filter, and loudly where there is no engine.
if [ ${#filters[@]} = 0 ]; then
  if docker version >/dev/null 2>&1; then
    echo "+ tools/compose-test.sh --profile dev"
    if tools/compose-test.sh --profile dev; then passed=$((passed + 1))
    else failed=$((failed + 1)); wrong+=("the cluster as containers"); fi
  else
    echo "test: SKIPPED: the cluster as containers: no Docker daemon answers (tools/setup.sh --all)"
    skipped=$((skipped + 1))
    if [ "${CI:-}" = true ]; then wrong+=("the cluster as containers was skipped"); fi
  fi
fi

# Made-up bytes for whatever reads what strangers send; a machine of one's own runs `make fuzz`.
if [ "${CI:-}" = true ] && [ ${#filters[@]} = 0 ]; then
  echo "+ tools/fuzz.sh --seconds 60"
  if tools/fuzz.sh --seconds 60; then passed=$((passed + 1))
  else failed=$((failed + 1)); wrong+=("made-up bytes"); fi
fi

# What a test skipped, it did not test. One test may skip in several places; it counts once.
if [ -s "$CODE_SKIPPED" ]; then
  sort -u "$CODE_SKIPPED"
  left_out=$(cut -d: -f2 "$CODE_SKIPPED" | sort -u | wc -l)
  passed=$((passed - left_out)) skipped=$((skipped + left_out))
fi

echo
echo "test: $((passed + failed)) run, $passed passed, $failed failed, $skipped skipped"
if [ "$passed" -eq 0 ]; then wrong+=("no test passed, so nothing is known"); fi
if [ "$failed" -gt 0 ] && [ ${#wrong[@]} = 0 ]; then wrong+=(tests); fi
if [ ${#wrong[@]} -gt 0 ]; then
  printf 'test: FAILED:'; printf ' [%s]' "${wrong[@]}"; echo
  exit 1
fi
echo "test: passed"
