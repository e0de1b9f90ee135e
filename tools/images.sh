#!/usr/bin/env bash
# Builds the container images: static programs, each alone on an empty image; for a test, those of the workspace with
# the libraries they load. Says what it does.
# A second run with nothing changed builds nothing and gives the same images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SERVICES=(orchestrator agents traffic experts consensus audit witness codectl greeter nats)
TARGET=x86_64-unknown-linux-gnu
STATIC_DIR=target-static # apart from target/: other flags would rebuild everything there, again and again

usage() {
  cat <<USAGE
usage: tools/images.sh [--profile image|dev] [SERVICE...]

  --profile   how the programs are built: image (default; static, optimised, stripped) or dev (those of \`make build\`,
              large, with the libraries of this machine: quick, for tests here)
  SERVICE     some of: ${SERVICES[*]}; default all

environment:
  CODE_IMAGE_PREFIX   default code      images are named <prefix>/<service>:<tag>
  CODE_IMAGE_TAG      default dev
  SOURCE_DATE_EPOCH   time of the files in the images; default that of the last commit

Needs Docker; nats needs .tools/bin/nats-server (tools/setup.sh). Exit status 0 when every image is there.
USAGE
}

profile=image wanted=()
while [ $# -gt 0 ]; do
  case "$1" in
    --profile) profile=${2:-}; shift $(($# > 1)) ;;
    --profile=*) profile=${1#*=} ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "images: unknown option $1" >&2; usage >&2; exit 2 ;;
    *)
      [[ " ${SERVICES[*]} " == *" $1 "* ]] || { echo "images: unknown service $1; there are: ${SERVICES[*]}" >&2; exit 2; }
      wanted+=("$1") ;;
  esac
  shift
done
case "$profile" in
  image) folder=$STATIC_DIR/$TARGET/image ;;
  dev) folder=${CARGO_TARGET_DIR:-target}/debug ;;
  *) echo "images: unknown profile ${profile:-(none)}: image or dev" >&2; exit 2 ;;
esac
[ ${#wanted[@]} -gt 0 ] || wanted=("${SERVICES[@]}")

prefix=${CODE_IMAGE_PREFIX:-code}
tag=${CODE_IMAGE_TAG:-dev}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
revision=$(git rev-parse --short=12 HEAD 2>/dev/null) || revision=unknown
version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)

command -v docker >/dev/null 2>&1 || { echo "images: no docker: run tools/setup.sh --all" >&2; exit 1; }
docker version >/dev/null 2>&1 || { echo "images: the Docker daemon does not answer: run tools/setup.sh --all" >&2; exit 1; }

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# Paths of this machine do not belong into programs: the same sources give the same program wherever they lie.
compile_static() {
  local packages=() service
  # The witness is a second program of the audit service.
  for service in "$@"; do packages+=(--package "${service/#witness/audit}"); done
  local flags="-C target-feature=+crt-static --remap-path-prefix=$PWD=/code --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  local command=(cargo build --locked --profile image --target "$TARGET" --target-dir "$STATIC_DIR" "${packages[@]}")
  echo "+ RUSTFLAGS='-C target-feature=+crt-static --remap-path-prefix=…' ${command[*]}"
  # The target is named, else the flags would also meet procedural macros, which cannot be static.
  RUSTFLAGS=$flags "${command[@]}"
}

# With the features of every other build here, so that nothing is compiled twice.
compile_dev() {
  local programs=() service
  for service in "$@"; do programs+=(--bin "$service"); done
  echo "+ cargo build --locked --workspace ${programs[*]}"
  cargo build --locked --workspace "${programs[@]}"
}

# What a program loads when it starts, at the places where it looks: loader and libraries of this machine.
libraries() {
  local program=$1 root=$2 file
  ldd "$program" | grep -oE '/[^ ]+' | sort -u | while read -r file; do install -D -m 755 "$file" "$root$file"; done
}

# A stream of the folder with nothing of this machine in it: no owner, no times, one order.
archive() { tar --create --directory "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" .; }

# pack FOLDER OPTION...: the image from this context. What Docker says is shown when it fails.
pack() {
  local folder=$1; shift
  archive "$folder" | docker build --quiet "$@" - >"$context/log" 2>&1 || { cat "$context/log" >&2; return 1; }
}

service_image() {
  local service=$1 root=$context/$1 program=$folder/$1
  local authorities=/etc/ssl/certs/ca-certificates.crt
  mkdir -p "$root/rootfs/etc/ssl/certs" "$root/state"
  # Compose lets codectl prepare these volumes: they take their owner over from the image.
  [ "$service" != codectl ] || mkdir -p "$root"/state/{audit,witness,trust,all,access} \
    "$root"/state/keys/{orchestrator,agents,traffic,experts,consensus,audit,provisioner,operator,system}
  install -m 755 "$program" "$root/rootfs/app"
  if [ "$profile" = dev ]; then
    libraries "$program" "$root/rootfs"
    # Line tables are most of its size, and nobody reads them in there.
    strip --strip-debug "$root/rootfs/app"
  # A program with an interpreter would not start: there is no loader in the image.
  elif LC_ALL=C readelf --program-headers "$root/rootfs/app" 2>/dev/null | grep -q INTERP; then
    echo "images: $program is not static" >&2; return 1
  fi
  printf 'code:x:10001:10001:code:/state:/sbin/nologin\n' >"$root/rootfs/etc/passwd"
  printf 'code:x:10001:\n' >"$root/rootfs/etc/group"
  if [ -r "$authorities" ]; then install -m 644 "$authorities" "$root/rootfs/etc/ssl/certs/"
  else echo "images: note: no $authorities here, so $service trusts no authority"; fi
  cp compose/service.Dockerfile "$root/Dockerfile"
  pack "$root" --tag "$prefix/$service:$tag" \
    --build-arg SERVICE="$service" --build-arg VERSION="$version" --build-arg REVISION="$revision"
}

nats_image() {
  [ -x .tools/bin/nats-server ] || { echo "images: no .tools/bin/nats-server: run tools/setup.sh" >&2; return 1; }
  mkdir -p "$context/nats/bin" "$context/nats/empty"
  install -m 755 .tools/bin/nats-server "$context/nats/bin/nats-server"
  cp compose/nats.Dockerfile "$context/nats/Dockerfile"
  pack "$context/nats" --tag "$prefix/nats:$tag"
}

programs=()
for service in "${wanted[@]}"; do [ "$service" = nats ] || programs+=("$service"); done

compiled=0
if [ ${#programs[@]} -gt 0 ]; then
  began=$SECONDS
  case "$profile" in image) compile_static "${programs[@]}" ;; dev) compile_dev "${programs[@]}" ;; esac
  compiled=$((SECONDS - began))
fi
began=$SECONDS
for service in "${wanted[@]}"; do
  if [ "$service" = nats ]; then
    echo "+ docker build --tag $prefix/nats:$tag --file compose/nats.Dockerfile"
    nats_image
  else
    echo "+ docker build --tag $prefix/$service:$tag --file compose/service.Dockerfile --build-arg SERVICE=$service"
    service_image "$service"
  fi
done
packed=$((SECONDS - began))

echo
printf '%-28s %9s  %s\n' image MiB id
for service in "${wanted[@]}"; do
  image=$prefix/$service:$tag
  docker image inspect --format '{{.Size}} {{.Id}}' "$image" | while read -r size id; do
    printf '%-28s %9s  %s\n' "$image" "$(awk -v size="$size" 'BEGIN { printf "%.1f", size / 1048576 }')" "${id:7:12}"
  done
done
echo "images: ${#wanted[@]} images, profile $profile: $compiled s compiling, $packed s packing"
