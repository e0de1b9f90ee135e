#!/usr/bin/env bash
# Feeds made-up bytes to whatever reads what strangers send, guided by which code they reach, on the stable compiler.
# The targets and what each must keep: tests/fuzz/targets/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<USAGE
usage: tools/fuzz.sh [--seconds N] [--jobs N] [TARGET...]

  --seconds N   how long each target runs; default 60
  --jobs N      how many run side by side; default one per core
  TARGET        some of: $(targets | paste -sd' '); default all

What a target found is kept in target/fuzz/found/; what reached new code, in target/fuzz/corpus/, where the next run
begins. Exit status 0 when nothing was found, 1 when something was, 2 for a wrong option.
USAGE
}
targets() { (cd tests/fuzz/targets && ls ./*.rs) | sed 's|^\./||; s|\.rs$||'; }

seconds=60 jobs=$(nproc) wanted=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) seconds=${2:-}; shift $(($# > 1)) ;;
    --jobs) jobs=${2:-}; shift $(($# > 1)) ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "fuzz: unknown option $1" >&2; usage >&2; exit 2 ;;
    *)
      targets | grep -qxF -- "$1" || { echo "fuzz: unknown target $1; there are: $(targets | paste -sd' ')" >&2; exit 2; }
      wanted+=("$1") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: --seconds ${seconds:-(none)} is not a number of seconds" >&2; exit 2; }
[[ $jobs =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: --jobs ${jobs:-(none)} is not a number of targets" >&2; exit 2; }
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(targets)

machine=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
# Counts edges and compares operands, as libFuzzer wants them. Naming the machine keeps these flags from build scripts.
flags="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
# Built with the very versions that ship.
cp Cargo.lock tests/fuzz/Cargo.lock
echo "+ cargo build --manifest-path tests/fuzz/Cargo.toml --release"
RUSTFLAGS=$flags cargo build --quiet --manifest-path tests/fuzz/Cargo.toml --release --target "$machine" --target-dir "$folder"

# Runs one target and says what came of it; status 1 when it found something.
fuzz() {
  local target=$1 corpus=$folder/corpus/$1 log=$folder/$1.log seeds=() runs edges
  mkdir -p "$corpus"
  [ ! -d "tests/fuzz/seeds/$target" ] || seeds=("tests/fuzz/seeds/$target")
  if "$folder/$machine/release/$target" "$corpus" "${seeds[@]}" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
      -rss_limit_mb=1024 -artifact_prefix="$folder/found/$target-" -verbosity=1 -print_final_stats=1 >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2)
    printf 'fuzz: %-12s %10d inputs in %d s, %d edges reached, nothing found\n' "$target" "$runs" "$seconds" "$edges"
  else
    printf 'fuzz: %-12s FOUND something, the end of %s:\n' "$target" "$log" >&2
    grep -E 'panicked|ERROR|assertion|left:|right:|Test unit' "$log" | head -n 8 >&2 || tail -n 20 "$log" >&2
    return 1
  fi
}

found=() running=()
mkdir -p "$folder/found"
# The oldest ends first, since each runs for the same time.
collect() { local pid=${running[0]%:*} target=${running[0]#*:}; running=("${running[@]:1}"); wait "$pid" || found+=("$target"); }
for target in "${wanted[@]}"; do
  [ ${#running[@]} -lt "$jobs" ] || collect
  fuzz "$target" & running+=("$!:$target")
done
while [ ${#running[@]} -gt 0 ]; do collect; done
if [ ${#found[@]} -gt 0 ]; then
  printf 'fuzz: FAILED:'; printf ' [%s]' "${found[@]}"; echo "; the inputs are in $folder/found"
  exit 1
fi
