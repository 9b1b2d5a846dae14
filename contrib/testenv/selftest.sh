#!/usr/bin/env bash
# selftest.sh ARCHIVE: prove that the daemons of up.sh work. Loads the image
# archive (OCI layout or docker save; it must hold the program true) into each,
# runs true, exports, pushes to both registries, removes all of it again.
# Output: one table; exit 1 if any cell failed. Logs are shown for those.
# Steps are called by name through cell, which shellcheck does not see.
# shellcheck disable=SC2317
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
archive=$(readlink -f "${1:?usage: selftest.sh IMAGE-ARCHIVE}")
[[ -r $archive && -r $here/.cache/env ]] || { echo "no $archive, or up.sh has not run" >&2; exit 1; }
# shellcheck source=/dev/null
. "$here/.cache/env"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DOCKER_CONFIG=$work/docker # logins of the user's stay out of it
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY
mkdir "$DOCKER_CONFIG"
# Not "docker login": Podman's answer to it insists on TLS.
if [[ -n ${OCCYSTRAP_TEST_REGISTRY_AUTH:-} ]]; then
  printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$OCCYSTRAP_TEST_REGISTRY_AUTH" \
    "$(printf %s "$OCCYSTRAP_TEST_REGISTRY_USER:$OCCYSTRAP_TEST_REGISTRY_PASSWORD" | base64 -w0)" \
    >"$DOCKER_CONFIG/config.json"
fi
tag=occystrap-selftest:$$
pushed=selftest/busybox
bad=0
log=$work/log

# cell runs one step and prints ok with its time, or FAILED and the log later.
cell() {
  local begun=$EPOCHREALTIME now rc
  # Not "if (...)": in a condition bash forgets errexit inside the subshell.
  set +e
  (set -e; "$@") >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  now=$EPOCHREALTIME
  if ((rc == 0)); then
    printf ' %6s ms' $(((${now/[.,]/} - ${begun/[.,]/}) / 1000))
  else
    printf ' %9s' FAILED
    bad=1
    { echo "--- $daemon: $*"; tail -n 20 "$log"; } >>"$work/errors"
  fi
}
# cell_with TOOL STEP... runs the step if the tool is there.
cell_with() {
  if [[ -n $1 ]]; then cell "${@:2}"; else printf ' %9s' -; fi
}
head_row() { printf "%-18s$(printf ' %%9s%.0s' $(seq $#))\n" "$daemon" "$@"; }

# Docker 20 cannot load an OCI layout; skopeo makes what docker save would.
as_docker_archive() {
  if tar -tf "$archive" manifest.json 2>/dev/null; then cp "$archive" "$work/docker.tar"; else
    "$OCCYSTRAP_TEST_SKOPEO" copy "oci-archive:$archive" "docker-archive:$work/docker.tar:$tag"
  fi
}

# The steps for what speaks Docker's API; d is the client at that daemon.
d() { "$OCCYSTRAP_TEST_DOCKER" -H "$host" "$@"; }
load() {
  local name
  name=$(d load -q -i "$1" | sed -n 's/^Loaded image\( ID\)\?: //p' | tail -n 1)
  d tag "$name" "$tag"
  echo "$name" >"$work/loaded"
}
run_true() { d run --rm --network none "$tag" true; }
save()     { d save -o "$work/out.tar" "$tag"; tar -tf "$work/out.tar" manifest.json; }
push()     { d tag "$tag" "$1/$pushed:$daemon"; d push "$1/$pushed:$daemon"; }
remove() {
  local name
  for name in "$OCCYSTRAP_TEST_REGISTRY/$pushed:$daemon" "$OCCYSTRAP_TEST_REGISTRY_AUTH/$pushed:$daemon" \
    "$tag" "$(cat "$work/loaded")"; do
    d rmi -f "$name" || true
  done
  [[ -z $(d images -q --filter "reference=${tag%:*}") ]]
}

daemon_row() { # NAME HOST ARCHIVE
  daemon=$1 host=$2
  printf '%-18s' "$daemon"
  if [[ -z $host ]]; then echo ' not running (see .cache/env)'; return; fi
  cell load "$3"
  cell run_true
  cell save
  cell push "$OCCYSTRAP_TEST_REGISTRY"
  cell push "$OCCYSTRAP_TEST_REGISTRY_AUTH"
  cell remove
  echo
}

# containerd through ctr, in a namespace of its own.
c() { "$OCCYSTRAP_TEST_CTR" --address "$OCCYSTRAP_TEST_CONTAINERD" --namespace selftest "$@"; }
ctr_load() { c images import --index-name "docker.io/library/$tag" --digests --base-name selftest "$archive"
  c images tag "$(c images list -q | head -n 1)" "$ctr_tag"; }
ctr_run()  { c run --rm --runc-root "$work/runc" --cgroup "/occystrap-testenv/selftest" "$ctr_tag" "selftest$$" true; }
# --local: through the transfer service, containerd 2.4.2 now and then answers
# before the file is whole (3 of 60 were short).
ctr_save() { c images export --local "$work/ctr.tar" "$ctr_tag"; tar -tf "$work/ctr.tar" index.json; }
ctr_push() { c images push --plain-http "${@:2}" "$1/$pushed:containerd" "$ctr_tag"; }
ctr_remove() {
  local name
  for name in $(c images list -q); do c images rm --sync "$name"; done
  for name in $(c content list -q); do c content rm "$name"; done
  # Snapshots go with the garbage collection that the lines above set off.
  for name in {1..50}; do
    if c namespaces rm selftest; then return; fi
    sleep 0.1
  done
  return 1
}
containerd_row() {
  daemon=containerd ctr_tag=docker.io/library/$tag
  printf '%-18s' "$daemon"
  if [[ -z ${OCCYSTRAP_TEST_CONTAINERD:-} ]]; then echo ' not running'; return; fi
  cell ctr_load
  cell ctr_run
  cell ctr_save
  cell ctr_push "$OCCYSTRAP_TEST_REGISTRY"
  cell ctr_push "$OCCYSTRAP_TEST_REGISTRY_AUTH" \
    --user "$OCCYSTRAP_TEST_REGISTRY_USER:$OCCYSTRAP_TEST_REGISTRY_PASSWORD"
  cell ctr_remove
  echo
}

# Peers: each reads what the one before wrote, from the archive to a container.
peer_crane() {
  "$OCCYSTRAP_TEST_CRANE" push "$work/docker.tar" "$OCCYSTRAP_TEST_REGISTRY/$pushed:crane"
  "$OCCYSTRAP_TEST_CRANE" validate --remote "$OCCYSTRAP_TEST_REGISTRY/$pushed:crane"
}
peer_regctl() {
  "$OCCYSTRAP_TEST_REGCTL" --host "reg=$OCCYSTRAP_TEST_REGISTRY,tls=disabled" image copy \
    "$OCCYSTRAP_TEST_REGISTRY/$pushed:crane" "$OCCYSTRAP_TEST_REGISTRY/$pushed:regctl"
}
peer_skopeo() {
  "$OCCYSTRAP_TEST_SKOPEO" copy "docker://$OCCYSTRAP_TEST_REGISTRY/$pushed:regctl" "oci:$work/layout:v1"
}
peer_umoci() {
  "$OCCYSTRAP_TEST_UMOCI" config --image "$work/layout:v1" --clear config.entrypoint --config.cmd true
  "$OCCYSTRAP_TEST_UMOCI" unpack --image "$work/layout:v1" "$work/bundle"
  # umoci asks for a terminal, and a test has none.
  sed -i 's/"terminal": *true/"terminal": false/' "$work/bundle/config.json"
}
# Over ssh, by Docker's own way: "docker system dial-stdio" on the other side.
peer_ssh() {
  PATH=$OCCYSTRAP_TEST_SSH_BIN:$PATH DOCKER_HOST=$OCCYSTRAP_TEST_SSH "$OCCYSTRAP_TEST_DOCKER" version
}
peer_systemd() {
  printf '[Service]\nExecStart=/bin/true\n' >"$work/selftest.service"
  "$OCCYSTRAP_TEST_SYSTEMD_ANALYZE" verify "$work/selftest.service"
}
bundle_true() { "$@" --root "$work/runtime" run --bundle "$work/bundle" "selftest$$"; }

peers_row() {
  local root_only=
  if [[ $(id -u) == 0 ]]; then root_only=yes; fi
  daemon=peers
  echo
  head_row crane regctl skopeo umoci runc crun ssh systemd
  printf '%-18s' ''
  cell_with "${OCCYSTRAP_TEST_CRANE:-}" peer_crane
  cell_with "${OCCYSTRAP_TEST_REGCTL:-}" peer_regctl
  cell_with "${OCCYSTRAP_TEST_SKOPEO:-}" peer_skopeo
  cell_with "${root_only:+${OCCYSTRAP_TEST_UMOCI:-}}" peer_umoci
  cell_with "${root_only:+${OCCYSTRAP_TEST_RUNC:-}}" bundle_true "${OCCYSTRAP_TEST_RUNC:-}"
  cell_with "${root_only:+${OCCYSTRAP_TEST_CRUN:-}}" bundle_true "${OCCYSTRAP_TEST_CRUN:-}"
  cell_with "${OCCYSTRAP_TEST_SSH:-}" peer_ssh
  cell_with "${OCCYSTRAP_TEST_SYSTEMD_ANALYZE:-}" peer_systemd
  echo
}

# clean_registries removes the manifests pushed above by digest.
clean_registries() {
  local registry name digest
  for registry in "$OCCYSTRAP_TEST_REGISTRY" "$OCCYSTRAP_TEST_REGISTRY_AUTH"; do
    for name in $("$OCCYSTRAP_TEST_CRANE" ls "$registry/$pushed"); do
      digest=$("$OCCYSTRAP_TEST_CRANE" digest "$registry/$pushed:$name" 2>/dev/null) || continue
      "$OCCYSTRAP_TEST_CRANE" delete "$registry/$pushed@$digest"
    done
    [[ -z $("$OCCYSTRAP_TEST_CRANE" ls "$registry/$pushed") ]]
  done
}

as_docker_archive >"$log" 2>&1 || { cat "$log"; exit 1; }
daemon=daemon
head_row load 'run true' export push 'push auth' remove
daemon_row docker29          "${OCCYSTRAP_TEST_DOCKER29:-}"          "$archive"
daemon_row docker29-overlay2 "${OCCYSTRAP_TEST_DOCKER29_OVERLAY2:-}" "$archive"
daemon_row docker20          "${OCCYSTRAP_TEST_DOCKER20:-}"          "$work/docker.tar"
daemon_row podman            "${OCCYSTRAP_TEST_PODMAN:-}"            "$work/docker.tar"
containerd_row
peers_row
printf '%-18s' 'registries emptied'
daemon=registries
cell clean_registries
echo
if ((bad)); then cat "$work/errors"; fi
exit "$bad"
