#!/usr/bin/env bash
# Which lines of each crate its tests run, counted by the compiler's own instrumentation. Builds everything once more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
usage: tools/coverage.sh [--html] [PACKAGE...]

  --html     also pages with every line, in target/llvm-cov/html
  PACKAGE    runs only the tests of these packages; default the whole workspace

Lines of tests themselves are not counted. What a process that is killed ran is not counted either: it writes no counts.
Exit status: 0 when all tests passed, else theirs. Needs tools/setup.sh --measure.
USAGE
}

html=no packages=()
for argument in "$@"; do
  case "$argument" in
    --html) html=yes ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "coverage: unknown option $argument" >&2; usage >&2; exit 2 ;;
    *) packages+=(--package "$argument") ;;
  esac
done
[ ${#packages[@]} -gt 0 ] || packages=(--workspace)
program=.tools/bin/cargo-llvm-cov
[ -x "$program" ] || { echo "coverage: no cargo-llvm-cov: run tools/setup.sh --measure" >&2; exit 1; }
major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if ! [ -x "$(rustc --print target-libdir)/../bin/llvm-cov" ] && command -v "llvm-cov-$major" >/dev/null; then
  LLVM_COV=$(command -v "llvm-cov-$major") LLVM_PROFDATA=$(command -v "llvm-profdata-$major")
  export LLVM_COV LLVM_PROFDATA
fi
if [ -z "${CODE_NATS_SERVER:-}" ] && [ -x .tools/bin/nats-server ]; then export CODE_NATS_SERVER=$PWD/.tools/bin/nats-server; fi

ignored='(/tests/|/tests\.rs$|/benches/|/loadtests/|/examples/|/testkit/|/emulators/|/wire-gen/)'
"$program" llvm-cov nextest --no-report --no-fail-fast "${packages[@]}"
[ "$html" = no ] || "$program" llvm-cov report --html --ignore-filename-regex "$ignored"
"$program" llvm-cov report --json --summary-only --ignore-filename-regex "$ignored" | python3 -c '
import json, os, sys
rooms = {}
for file in json.load(sys.stdin)["data"][0]["files"]:
    parts = os.path.relpath(file["filename"]).split(os.sep)
    if parts[0] not in ("libs", "services"): continue
    room = rooms.setdefault("/".join(parts[:2]), [0, 0])
    lines = file["summary"]["lines"]
    room[0] += lines["covered"]; room[1] += lines["count"]
total = [sum(room[i] for room in rooms.values()) for i in (0, 1)]
print("%-28s %7s %7s %8s" % ("crate", "lines", "run", "share"))
for name, (run, lines) in sorted(rooms.items()) + [("all", total)]:
    print("%-28s %7d %7d %6.1f %%" % (name, lines, run, 100 * run / max(lines, 1)))
'
