#!/usr/bin/env bash
# Builds the images and runs the demo federation of four sites in them (make test-docker).
#
# Uses a private engine, so that no bridge, rule or image of this machine is touched, and needs no
# container registry: where the base image or nginx can't be had, Debian's packages make them. Where
# an engine can't be started, says which step failed and skips. WORK keeps images between runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WORK=${WORK:-/var/tmp/groundswell-docker}
NAMESPACE=groundswell-test
SOCKET="unix://$WORK/docker.sock"
BASE=python:3.11-slim-bookworm
DOOR=nginx:1.29-alpine
ROUNDS_SECONDS=${ROUNDS_SECONDS:-900}
# The engine's own client: a newer one may ask for plug-ins that are not there.
DOCKER=/usr/bin/docker
[ -x "$DOCKER" ] || DOCKER=docker
ENGINE=""
WHEELS=""

skip() { echo "skipped: step \"$1\" failed${2:+: $2}"; exit 0; }
docker() { "$DOCKER" -H "$SOCKET" "$@"; }
compose() {
  docker-compose -H "$SOCKET" -p groundswell-demo -f docker/compose.demo.yaml "$@"
}

stop_engine() {
  [ -n "$ENGINE" ] || return 0
  kill "$ENGINE" 2>/dev/null || true
  wait "$ENGINE" 2>/dev/null || true
  ENGINE=""
}

start_engine() {  # arguments: a prefix to run dockerd behind, then its options after --
  local prefix=() ; while [ "$1" != "--" ]; do prefix+=("$1"); shift; done; shift
  echo '{}' > "$WORK/empty.json"
  # exec: the engine's own process id is the one that is ended.
  ( exec "${prefix[@]}" dockerd --config-file "$WORK/empty.json" --data-root "$WORK/data" \
      --exec-root "$WORK/run" -H "$SOCKET" --pidfile "$WORK/dockerd.pid" \
      --storage-driver overlay2 "$@" ) > "$WORK/dockerd.log" 2>&1 &
  ENGINE=$!
  for _ in $(seq 60); do
    docker info > /dev/null 2>&1 && return 0
    kill -0 "$ENGINE" 2>/dev/null || return 1
    sleep 0.5
  done
  return 1
}

clean_up() {
  if docker info > /dev/null 2>&1; then compose down --volumes > /dev/null 2>&1 || true; fi
  stop_engine
  [ -z "$WHEELS" ] || kill "$WHEELS" 2>/dev/null || true
  ip netns delete "$NAMESPACE" 2>/dev/null || true
}
trap clean_up EXIT

[ "$(id -u)" = 0 ] || skip "be root"
mkdir -p "$WORK"
for program in dockerd docker-compose debootstrap ip; do
  command -v "$program" > /dev/null && continue
  (apt-get update -qq && apt-get install -y -qq docker.io docker-compose debootstrap iproute2) \
    > "$WORK/apt.log" 2>&1 || skip "install an engine" "see $WORK/apt.log"
done

# --- build: on the machine's own network, without a bridge ---------------------------------------
start_engine env -- --bridge=none --iptables=false || skip "start an engine" "see $WORK/dockerd.log"
if ! docker image inspect "$BASE" > /dev/null 2>&1 && ! docker pull -q "$BASE" > /dev/null 2>&1; then
  echo "base image by debootstrap"
  [ -d "$WORK/base" ] || debootstrap --variant=minbase \
    --include=python3.11,python3-pip,python3.11-venv,python3-venv,ca-certificates \
    bookworm "$WORK/base" > "$WORK/debootstrap.log" 2>&1 || skip "debootstrap"
  tar -C "$WORK/base" -c . | docker import - "$BASE" > /dev/null || skip "import the base image"
fi

if ! docker image inspect "$DOOR" > /dev/null 2>&1 && ! docker pull -q "$DOOR" > /dev/null 2>&1; then
  echo "nginx from Debian's package"
  mkdir -p "$WORK/nginx"
  (cd "$WORK/nginx" && rm -f ./*.deb && apt-get download -qq nginx && mv nginx_*.deb nginx.deb) \
    > "$WORK/apt.log" 2>&1 || skip "download nginx" "see $WORK/apt.log"
  DOCKER_BUILDKIT=1 docker build -q --network=host -t "$DOOR" -f - "$WORK/nginx" > "$WORK/build-nginx.log" 2>&1 \
    <<< "FROM $BASE
COPY nginx.deb /
RUN dpkg -x /nginx.deb /
CMD [\"nginx\", \"-g\", \"daemon off;\"]" || skip "make nginx" "see $WORK/build-nginx.log"
fi

# pip's own set-up goes in as secrets; a folder of wheels is served on loopback for the build.
LINKS=${WHEEL_FOLDER:-}
[ -n "$LINKS" ] || LINKS=$(python3 -m pip config get global.find-links 2>/dev/null || true)
{
  echo "[global]"
  python3 -m pip config list 2>/dev/null \
    | sed -n "s/^global\.\(index-url\|trusted-host\)='\(.*\)'$/\1 = \2/p"
  echo "cert = /run/secrets/ca"
  echo "timeout = 180"
} > "$WORK/pip.conf"
if [ -n "$LINKS" ] && [ -d "$LINKS" ]; then
  python3 -m http.server --bind 127.0.0.1 --directory "$LINKS" 39123 > /dev/null 2>&1 &
  WHEELS=$!
  echo "find-links = http://127.0.0.1:39123/" >> "$WORK/pip.conf"
fi
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$WORK/ca.crt"
for target in import relay vault coordinator gateway demo; do
  echo "build $target"
  DOCKER_BUILDKIT=1 docker build -q --network=host -f docker/Dockerfile --target "$target" \
    --secret "id=pip,src=$WORK/pip.conf" --secret "id=ca,src=$WORK/ca.crt" \
    -t "groundswell-$target" . > "$WORK/build-$target.log" 2>&1 \
    || { tail -30 "$WORK/build-$target.log"; echo "failed: build $target"; exit 1; }
done
stop_engine

# --- run: in a network namespace of its own ---------------------------------------------------------
ip netns add "$NAMESPACE" && ip -n "$NAMESPACE" link set lo up || skip "make a network namespace"
start_engine nsenter "--net=/run/netns/$NAMESPACE" -- || skip "start an engine in a namespace"
compose down --volumes > /dev/null 2>&1 || true
compose run --rm setup
compose up -d || { docker ps -a; compose logs --tail=30; echo "failed: up"; exit 1; }
deadline=$((SECONDS + 300))
until [ "$(docker ps --filter health=healthy -q | wc -l)" -ge 9 ]; do
  [ $SECONDS -lt $deadline ] || { docker ps -a; compose logs --tail=20; echo "failed: start"; exit 1; }
  sleep 3
done
echo "9 containers are healthy"
docker inspect groundswell-demo_vault-1_1 --format '{{.HostConfig.NetworkMode}}' | grep -qx none
timeout "$ROUNDS_SECONDS" "$DOCKER" -H "$SOCKET" exec groundswell-demo_coordinator_1 \
  groundswell coordinator train /coordinator \
  || { compose logs --tail=40; echo "failed: train"; exit 1; }
docker exec -i groundswell-demo_relay-1_1 python3 - <<'END'
# What a site reaches: the Fleet path over TLS, and neither Control, nor plain HTTP, nor another port.
import http.client, json, socket, ssl
from pathlib import Path

keys = Path("/site/relay-keys")
host, port = json.loads((keys / "relay.json").read_text())["address"].split(":")
context = ssl.create_default_context(cafile=str(keys / "root.pem"))


def ask(path):
    connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    connection.request("POST", path, b"", {"Content-Type": "application/protobuf"})
    return connection.getresponse()


assert ask("/v1/fleet/pull-messages").status == 401
refused = ask("/v1/control/start-run")
assert refused.status == 404 and refused.getheader("server") == "nginx"
plain = http.client.HTTPConnection(host, int(port), timeout=30)
plain.request("GET", "/healthz")
assert plain.getresponse().status == 400
for closed in (9091, 9443, 9464):
    with socket.socket() as probe:
        assert probe.connect_ex((host, closed)) != 0, closed
print("nginx lets the Fleet path in, and nothing else")
END
docker exec groundswell-demo_coordinator_1 sh -c 'ls /coordinator/runs/*/model/manifest.json'
echo "1 passed, 0 failed"
