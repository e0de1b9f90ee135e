#!/usr/bin/env bash
# Checks without writing: format, lints, one crypto provider, generated files. `make fix` is the one that writes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  '') ;;
  -h | --help) echo "usage: tools/verify.sh    checks everything, then says what failed; exit status 1 if anything did"; exit 0 ;;
  *) echo "verify: unknown option $1" >&2; exit 2 ;;
esac

failed=()
# check NAME COMMAND...: runs it and goes on, so that one run shows all that is wrong.
check() {
  local name=$1; shift
  "$@" || failed+=("$name")
}
# Says what it runs, then runs it.
run() { echo "+ $*"; "$@"; }

# One crypto provider everywhere: aws-lc-rs. A crate that brings another one shows here with who asked for it.
absent() {
  local crate output status=0
  for crate in "$@"; do
    echo "+ cargo tree --workspace --edges all --invert $crate"
    output=$(cargo tree --locked --workspace --edges all --invert "$crate" 2>&1) || {
      # A crate that is not in the lock file at all is an error for cargo and a success for us.
      [[ $output == *"did not match any packages"* ]] && continue
      echo "$output" >&2; status=1; continue
    }
    [[ $output == *"nothing to print"* ]] && continue
    echo "verify: $crate must not be in the dependency graph:" >&2
    echo "$output" >&2; status=1
  done
  return "$status"
}

# Licences, bans and sources of every crate, by deny.toml. What is known to be vulnerable is checked only where somebody
# has put RustSec's database, since it comes from outside the package index; that it was not is said aloud.
crates() {
  local deny=.tools/bin/cargo-deny checks=(bans licenses sources)
  if ! [ -x "$deny" ]; then
    if [ "${CI:-}" = true ]; then echo "verify: no cargo-deny in .tools/bin: run tools/setup.sh --all" >&2; return 1; fi
    echo "verify: NOT CHECKED: licences, bans and sources of crates: no cargo-deny (tools/setup.sh --all)"
    return
  fi
  if [ -d .tools/advisory-db ]; then checks+=(advisories)
  else echo "verify: NOT CHECKED: advisories: no database in .tools/advisory-db"; fi
  run "$deny" --all-features --locked check --hide-inclusion-graph "${checks[@]}"
}

# The generator itself compares; without one there is nothing to trust, so that fails.
generated() {
  if [ -f libs/wire-gen/src/main.rs ]; then
    run cargo build --locked --quiet --workspace --bin wire-gen && run "${CARGO_TARGET_DIR:-target}/debug/wire-gen" --check
  else
    echo "verify: libs/wire-gen has no program that compares the generated files" >&2
    return 1
  fi
}

# Names the files only; `make fix` shows and cures the rest.
check format run cargo fmt --all --check -- -l
check "one crypto provider" absent ring openssl-sys native-tls
check crates crates
check lints run cargo clippy --locked --workspace --all-targets -- -D warnings
check "generated files" generated

if [ ${#failed[@]} -gt 0 ]; then
  printf 'verify: FAILED:'; printf ' [%s]' "${failed[@]}"; echo
  exit 1
fi
echo "verify: all checks passed"
