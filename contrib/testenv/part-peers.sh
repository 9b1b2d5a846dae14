# shellcheck shell=bash
# part-peers.sh: programs that tests compare with and that need no daemon:
# crane, regctl, the registry's binary, skopeo, umoci, crun, runc, docker's CLI.

part_gotools() {
  CGO_ENABLED=0 build_go gotools '' \
    github.com/google/go-containerregistry/cmd/crane \
    github.com/regclient/regclient/cmd/regctl \
    github.com/distribution/distribution/v3/cmd/registry \
    "$(cd "$TESTENV" && find_go && go list -m)/htpasswd"
  provide CRANE "$BIN/crane"
  provide REGCTL "$BIN/regctl"
  provide REGISTRY_BIN "$BIN/registry"
  detail 'crane, regctl, registry'
}

part_peers() {
  local had=$STAMPS/deb-peers
  if [[ -f $had ]]; then state 'already there'; else state unpacked; fi
  unpack peers skopeo umoci crun tini golang-github-containers-common golang-github-containers-image
  complete "$DEBROOT/usr/bin/skopeo"
  complete "$DEBROOT/usr/bin/umoci"
  complete "$DEBROOT/usr/bin/crun"
  # skopeo reads /etc/containers/policy.json, which an unpacked package lacks.
  write "$ETC/policy.json" '{"default": [{"type": "insecureAcceptAnything"}]}'
  write "$ETC/registries.conf" "$(registries_conf)"
  wrap skopeo "$DEBROOT/usr/bin/skopeo" \
    -- --policy "$ETC/policy.json" --registries-conf "$ETC/registries.conf"
  wrap umoci "$DEBROOT/usr/bin/umoci"
  wrap_crun
  provide SKOPEO "$BIN/skopeo"
  provide UMOCI "$BIN/umoci"
  provide CRUN "$BIN/crun"
  detail "$("$BIN/skopeo" --version), $("$BIN/umoci" --version), $("$BIN/crun" --version | head -n 1)"
}

# crun 1.8 refuses hosts with cgroups v1 and v2 side by side and controllers on
# both ("hybrid mode"), which come and go. Root's runs in a mount namespace
# without the v2 tree wherever there is one beside v1.
wrap_crun() {
  local unified=/sys/fs/cgroup/unified crun=$DEBROOT/usr/bin/crun
  wrap crun /bin/sh -- -c "$(printf '%s\n' \
    "if [ \"\$(id -u)\" = 0 ] && [ -e $unified/cgroup.procs ]; then" \
    "  exec unshare --mount --propagation private /bin/sh -c \"umount $unified && exec $crun \\\"\\\$@\\\"\" crun \"\$@\"" \
    fi "exec $crun \"\$@\"")" crun
}

# Docker takes any registry on 127.0.0.1 without TLS; skopeo and Podman are told.
registries_conf() {
  local name
  echo 'short-name-mode = "disabled"'
  for name in registry registry-auth; do
    [[ ! -s $ETC/$name.port ]] ||
      printf '[[registry]]\nlocation = "127.0.0.1:%s"\ninsecure = true\n' "$(<"$ETC/$name.port")"
  done
}

part_dockercli() {
  local docker
  state 'already there'
  # Docker 29 speaks API 1.40 and up, Debian's client 1.41: either one will do.
  if docker=$(command -v docker); then
    docker=$(readlink -f "$docker")
  else
    unpack docker20 "${DOCKER20_PACKAGES[@]}"
    docker=$DEBROOT/usr/bin/docker
    state unpacked
  fi
  provide DOCKER "$docker"
  detail "$("$docker" --version)"
}

# runc is built here because containerd 2 needs a newer one than Debian's 1.1.5
# ("namespace time does not exist"). Static, as upstream ships it; the seccomp
# library comes from an unpacked package, pkg-config is played by a script.
part_runc() {
  local libs
  command -v "${CC:-gcc}" >/dev/null || left_out "needs gcc to build runc"
  if command -v apt-get >/dev/null; then
    unpack runc libseccomp-dev
    libs=$(deb_libs)
    # shellcheck disable=SC2016 # $1 is the script's own
    write "$ETC/pkg-config" "$(printf '%s\n' '#!/bin/sh' 'case $1 in' \
      "--cflags) echo -I$DEBROOT/usr/include ;;" "--libs) echo -L$libs -lseccomp ;;" 'esac')"
    chmod 755 "$ETC/pkg-config"
    export PKG_CONFIG=$ETC/pkg-config
  else
    pkg-config --exists libseccomp || left_out "needs the libseccomp headers to build runc"
  fi
  CGO_ENABLED=1 build_go runc '-tags=seccomp,netgo,osusergo -ldflags=-extldflags=-static' \
    github.com/opencontainers/runc
  provide RUNC "$BIN/runc"
  detail "$("$BIN/runc" --version | head -n 1)"
}
