#!/usr/bin/env bash
# The engine as separate containers, tested from outside: a release under constant load moves by canary while a NATS
# server is killed, the orchestrator that owns the deployment is killed, and another NATS server loses its network.
# Expects: promoted, no failed request, no container made twice. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
usage: tools/compose-test.sh [--no-build] [--profile image|dev] [--rate N]

  --no-build   takes the images that are there; else tools/images.sh is run first, which is quick when nothing changed
  --profile    how the programs in the images are built, see tools/images.sh; default image
  --rate N     requests per second of the constant load; default 100

Needs Docker, Compose and python3. Several may run at once: everything has the process id in its name.
Exit status 0 when every expectation held, 1 when one did not, 2 for a wrong option.
USAGE
}
build=yes rate=100 profile=image
while [ $# -gt 0 ]; do
  case "$1" in
    --no-build) build=no ;;
    --profile) profile=${2:-}; shift $(($# > 1)) ;;
    --rate) rate=${2:-}; shift $(($# > 1)) ;;
    -h | --help) usage; exit 0 ;;
    *) echo "compose-test: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[[ $rate =~ ^[1-9][0-9]*$ ]] || { echo "compose-test: --rate ${rate:-(none)} is not a number of requests" >&2; exit 2; }

prefix=${CODE_IMAGE_PREFIX:-code} tag=${CODE_IMAGE_TAG:-dev}
name=code-test-$$
target=$name.docker.greeter
scratch=$(mktemp -d)
servers=
replicas=2
# The one that is in its image runs here as well.
case "$profile" in dev) folder=${CARGO_TARGET_DIR:-target}/debug ;; *) folder=target-static/x86_64-unknown-linux-gnu/$profile ;; esac
codectl_program=${CODECTL:-$folder/codectl}

say() { printf 'compose-test: %4d s  %s\n' "$SECONDS" "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }
for program in docker python3; do has "$program" || { echo "compose-test: no $program: run tools/setup.sh --all" >&2; exit 1; }; done
if docker compose version >/dev/null 2>&1; then compose_program=(docker compose)
elif has docker-compose; then compose_program=(docker-compose)
else echo "compose-test: no Compose: run tools/setup.sh --all" >&2; exit 1; fi
compose() { "${compose_program[@]}" --project-name "$name" --file compose/compose.yaml "$@"; }

# ---- what is made is taken away ------------------------------------------------------------------
background=()
finished=no
clean_up() {
  local status=$?
  trap - EXIT INT TERM
  if [ "$finished" = no ]; then
    echo; echo "compose-test: did not come to its end; the newest deployment, then the last lines of each service:"
    timeout 20 "$codectl_program" --nats "$servers" --nats-key "$scratch/operator.nk" status || true
    timeout 20 "$codectl_program" --nats "$servers" --nats-key "$scratch/operator.nk" history || true
    compose logs --no-color --tail 25 2>/dev/null || true
    docker ps --all --filter "label=code.target-name=$target" 2>/dev/null || true
  fi
  local process
  for process in "${background[@]}"; do kill "$process" 2>/dev/null || true; done
  compose down --volumes --remove-orphans --timeout 5 >"$scratch/down.log" 2>&1 || cat "$scratch/down.log"
  local kind ids
  for kind in container network volume; do
    mapfile -t ids < <(of_target "$kind")
    [ ${#ids[@]} = 0 ] || docker "$kind" rm --force "${ids[@]}" >/dev/null 2>&1 || docker "$kind" rm "${ids[@]}" >/dev/null
  done
  rm -rf "$scratch"
  exit "$status"
}
of_target() {
  local options=(--quiet --filter "label=code.target-name=$target")
  case "$1" in
    container) docker container ls --all "${options[@]}" ;;
    *) docker "$1" ls "${options[@]}" ;;
  esac
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- asking --------------------------------------------------------------------------------------
# json EXPRESSION: of the document d on standard input; nothing when there is no such thing.
json() {
  python3 -c 'import json, sys
try:
    value = eval(sys.argv[1], {"d": json.load(sys.stdin)})
except (ValueError, KeyError, IndexError, TypeError):
    sys.exit(0)
print("" if value is None else value)' "$1"
}
get() { python3 -c 'import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())
except OSError:
    sys.exit(1)' "$1"; }
codectl() { "$codectl_program" --nats "$servers" --nats-key "$scratch/operator.nk" --as compose-test --output json "$@" 2>"$scratch/codectl.log"; }
container() {
  docker ps --all --quiet --filter "label=com.docker.compose.project=$name" --filter "label=com.docker.compose.service=$1"
}
monitor() {
  local address
  address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container "$1")")
  [ -n "$address" ] && get "http://$address:8222/$2"
}

# within SECONDS COMMAND...: until the command succeeds; status 1 when it has not.
within() {
  local until=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
}
# await SECONDS WHAT COMMAND...: the same, but the test ends when it has not.
await() {
  local seconds=$1 what=$2; shift 2
  within "$seconds" "$@" && return
  say "waited $seconds s in vain for $what" >&2
  [ ! -s "$scratch/codectl.log" ] || tail -n 3 "$scratch/codectl.log" >&2
  exit 1
}
engine_answers() { codectl list >"$scratch/list"; }
server_is_well() { monitor "$1" healthz 2>/dev/null | grep -q '"ok"'; }
look() { codectl status "$1" >"$scratch/view" || [ -s "$scratch/view" ]; }
of_view() { json "$1" <"$scratch/view"; }
is_over() { look "$1" && [ -n "$(of_view 'd["summary"]["verdict"]')" ]; }
has_other_owner() { look "$1" && local now && now=$(of_view 'd["owner"][0]') && [ -n "$now" ] && [ "$now" != "$2" ]; }
load_sees() { [ -s "$scratch/load" ] && [ -n "$(json "d['versions']['$1']" <"$scratch/load")" ]; }
# Only in the pause without end: while the analysis measures, promote would mean something else.
waits_for_promote() { look "$1" && [[ $(of_view 'd["explanation"]') == *"waits for a person"* ]]; }
promote() { codectl promote "$1" >"$scratch/answer"; }
# The names of the services that are connected to a server.
connected() { monitor "$1" connz | json '" ".join(sorted({c.get("name", "") for c in d["connections"]}))'; }
server_with() {
  local server
  for server in nats-1 nats-2 nats-3; do
    if [[ " $(connected "$server" 2>/dev/null) " == *" $1 "* ]]; then echo "$server"; return; fi
  done
  return 1
}
all_without() {
  local server names=" "
  for server in nats-1 nats-2 nats-3; do
    [ "$server" = "$1" ] || names+="$(connected "$server" 2>/dev/null) "
  done
  [[ $names == *" agents "* && $names == *" traffic "* && $names == *" orchestrator "* ]]
}
only_the_new_run() {
  local labels
  labels=$(docker ps --filter "label=code.target-name=$target" --format '{{.Label "code.version"}} {{.Label "code.slot"}}' | sort)
  [ "$labels" = "$(for ((slot = 0; slot < replicas; slot++)); do echo "2.0.0 $slot"; done)" ]
}

# ---- the stage -----------------------------------------------------------------------------------
if [ "$build" = yes ]; then
  echo "+ tools/images.sh --profile $profile"
  tools/images.sh --profile "$profile"
fi
[ -x "$codectl_program" ] || { echo "compose-test: no $codectl_program: run tools/images.sh codectl" >&2; exit 1; }

read -r -a ports < <(python3 -c 'import socket
taken = [socket.socket() for _ in range(4)]
for each in taken:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in taken))')
export CODE_NATS_PORT_1=${ports[0]} CODE_NATS_PORT_2=${ports[1]} CODE_NATS_PORT_3=${ports[2]}
export CODE_TRAFFIC_PORTS=${ports[3]} CODE_TRAFFIC_ADDRESS=127.0.0.1 CODE_NAME=$name
export CODE_DOCKER_GROUP=${CODE_DOCKER_GROUP:-$(stat -c %g /var/run/docker.sock)}
for service in nats orchestrator agents traffic experts consensus audit witness codectl; do export "CODE_${service^^}_IMAGE=$prefix/$service:$tag"; done
servers=nats://127.0.0.1:${ports[0]},nats://127.0.0.1:${ports[1]},nats://127.0.0.1:${ports[2]}

# The image is pinned by the digest of its configuration: a tag can be moved.
digest=$(docker image inspect --format '{{.Id}}' "$prefix/greeter:$tag")
spec() {
  cat <<SPEC
apiVersion: code/v1
name: greeter
environment: $name
target: docker
modules:
  - name: greeter
    version: $1
    run: {image: "$prefix/greeter:$tag", digest: "$digest", user: "10001"}
    replicas: $replicas
    resources: {cpu: 250m, memory: 64Mi}
    ports: [{name: http, container: 8080}]
    expose: {listen: ${ports[3]}}
    health: {probe: {http: {path: /health}}}
    environment: {GREETER_VERSION: $1}
    smoke: [{path: /}]
    strategy:
      canary:
        steps:
          - setWeight: 20
          - analysis:
              duration: 10s
              metrics: [{name: errors, provider: errorRate, success: "< 0.05", interval: 2s}]
          - pause: {} # until the faults are over and this test says promote
          - setWeight: 60
          - pause: {duration: 3s}
SPEC
}
spec 1.0.0 >"$scratch/v1.yaml"
spec 2.0.0 >"$scratch/v2.yaml"

docker events --filter type=container --filter event=create --filter "label=code.target-name=$target" \
  --format '{{.Actor.Attributes.name}}' >"$scratch/created" &
background+=($!)

say "starting 3 nats, 2 orchestrators, agents, traffic as $name"
compose up --detach >"$scratch/up.log" 2>&1 || { cat "$scratch/up.log"; exit 1; }
# The operator's key, and one for whoever publishes the first release: out of the volumes, as docs/compose.md shows.
compose run --rm keys access publisher add compose-test --keys /state/all --configuration /state/access/access.conf \
  --to /state/keys/operator/publisher.nk >"$scratch/publisher.log" 2>&1 || { cat "$scratch/publisher.log"; exit 1; }
for key in operator publisher; do
  docker cp "$(container keys | tail -n 1)":"/state/keys/operator/$key.nk" "$scratch/$key.nk" >/dev/null
  chmod 600 "$scratch/$key.nk"
done
compose kill -s HUP nats-1 nats-2 nats-3 >/dev/null 2>&1
for server in nats-1 nats-2 nats-3; do await 60 "$server to be well" server_is_well "$server"; done
await 90 "the engine to answer" engine_answers
started=$SECONDS

# ---- version 1, by an event from any NATS client -------------------------------------------------
say "version 1 by a CloudEvent over plain NATS"
python3 compose/publish.py "127.0.0.1:${ports[0]},127.0.0.1:${ports[1]},127.0.0.1:${ports[2]}" compose-test "$scratch/publisher.nk" "$scratch/v1.yaml" "$name" >"$scratch/answer" \
  || { cat "$scratch/answer"; exit 1; }
first=$(json 'd["deployment"]' <"$scratch/answer")
await 120 "version 1 to be over" is_over "$first"
first_verdict=$(of_view 'd["summary"]["verdict"]')
say "version 1: $first_verdict"
[ "$first_verdict" = promoted ] || { of_view 'd["explanation"]'; exit 1; }
first_took=$((SECONDS - started))

# ---- version 2 under load, with faults -----------------------------------------------------------
say "load: $rate requests per second"
python3 compose/load.py "http://127.0.0.1:${ports[3]}/" "$rate" "$scratch/load" &
load=$!
background+=("$load")
await 20 "answers of version 1" load_sees 1.0.0

began=$SECONDS
codectl apply "$scratch/v2.yaml" >"$scratch/answer" || { cat "$scratch/codectl.log"; exit 1; }
second=$(json 'd["deployment"]' <"$scratch/answer")
say "version 2 as a canary: $second"
await 120 "the canary's first answers" load_sees 2.0.0

killed=$(server_with agents)
say "fault 1: kill $killed, the NATS server of the agents"
docker kill "$(container "$killed")" >/dev/null
await 30 "the engine to answer on two NATS servers" engine_answers
await 30 "all services to be connected to the other two" all_without "$killed"

await 30 "the engine to show the deployment" look "$second"
owner=$(of_view 'd["owner"][0]')
for orchestrator in orchestrator-1 orchestrator-2; do
  docker logs "$(container "$orchestrator")" >"$scratch/log" 2>&1
  ! grep -q "starting.*$owner" "$scratch/log" || break
done
say "fault 2: kill $orchestrator, which owns the deployment"
docker kill "$(container "$orchestrator")" >/dev/null
lost=$SECONDS
await 30 "the other orchestrator to take over" has_other_owner "$second" "$owner"
takeover=$((SECONDS - lost))
say "taken over by $(of_view 'd["owner"][0]'), epoch $(of_view 'd["owner"][1]')"

docker start "$(container "$killed")" "$(container "$orchestrator")" >/dev/null
await 60 "$killed to be well again" server_is_well "$killed"

cut=$(server_with agents)
say "fault 3: cut the network of $cut, now the NATS server of the agents"
docker network disconnect "${name}_control" "$(container "$cut")"
await 60 "all services to be connected to the other two" all_without "$cut"
docker network connect --alias "$cut" "${name}_control" "$(container "$cut")"
await 60 "$cut to be well again" server_is_well "$cut"

await 30 "the engine to show the deployment" look "$second"
early=$(of_view 'd["summary"]["verdict"]')
[ -z "$early" ] || { say "it was over before the faults were: $early"; of_view 'd["explanation"]'; exit 1; }
await 120 "the canary to wait for promote" waits_for_promote "$second"
say "all faults are over: promote"
await 30 "promote to be accepted" promote "$second"
await 120 "version 2 to be over" is_over "$second"
verdict=$(of_view 'd["summary"]["verdict"]')
second_took=$((SECONDS - began))
say "version 2: $verdict"
[ "$verdict" = promoted ] || { of_view 'd["explanation"]'; of_view 'd["cause"]'; }
left=yes
! within 60 only_the_new_run || left=no

# ---- the certificate, held against the log and its witness, without the engine ------------------
is_certified() {
  codectl certificate export "$second" --to "$scratch/shop" --trust "$scratch/trust.json" >"$scratch/answer" \
    && "$codectl_program" --output json certificate verify "$scratch/shop" --trust "$scratch/trust.json" --promoted >"$scratch/verified"
}
say "the certificate of version 2"
docker cp "$(container witness):/trust/trust.policy" "$scratch/trust.policy" >/dev/null
await 30 "the certifier's keys" codectl certificate keys trust --to "$scratch/keys.json" >/dev/null
# Trust asks for the witness: the engine's own answer does not name one.
python3 -c 'import json, sys
trust = json.load(open(sys.argv[1])) | {"log": open(sys.argv[2]).read()}
json.dump(trust, open(sys.argv[3], "w"))' "$scratch/keys.json" "$scratch/trust.policy" "$scratch/trust.json"
certificate=valid witnesses=
within 60 is_certified || { certificate=invalid; cat "$scratch/verified" "$scratch/codectl.log"; }
witnesses=$(json '" ".join(d["log"]["witnesses"])' <"$scratch/verified")

kill "$load"
wait "$load" || true
finished=yes

# ---- what came of it -----------------------------------------------------------------------------
of_load() { json "$1" <"$scratch/load"; }
created=$(wc -l <"$scratch/created")
twice=$(sort "$scratch/created" | uniq -d | wc -l)
wrong=()
row() { printf '  %-46s %s\n' "$1" "$2"; }
# expect WHAT FOUND WANTED
expect() {
  if [ "$2" = "$3" ]; then row "$1" "$2"
  else row "$1" "$2   EXPECTED $3"; wrong+=("$1"); fi
}
echo
row "version 1 by CloudEvent" "$first_verdict in $first_took s"
expect "version 2 by codectl" "$verdict" promoted
row "  with all faults" "$second_took s"
row "  from the kill to the new owner" "$takeover s"
row "requests sent" "$(of_load 'd["sent"]') ($(of_load '", ".join(f"{n} of {v}" for v, n in sorted(d["versions"].items()))'))"
expect "requests failed" "$(of_load 'd["failed"]')" 0
[ "$(of_load 'd["failed"]')" = 0 ] || row "  why" "$(of_load 'd["failures"]')"
row "slowest request, 99th percentile" "$(of_load 'd["slowest_ms"]') ms, $(of_load 'd["p99_ms"]') ms"
expect "containers made" "$created" "$((2 * replicas))"
expect "containers made twice" "$twice" 0
expect "containers of version 1 left" "$left" no
expect "certificate of version 2, verified offline" "$certificate" valid
expect "  its log entry cosigned by" "$witnesses" W1
echo
if [ ${#wrong[@]} -gt 0 ]; then
  printf 'compose-test: FAILED:'; printf ' [%s]' "${wrong[@]}"; echo
  exit 1
fi
say "passed"
