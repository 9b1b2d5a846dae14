# shellcheck shell=bash disable=SC2034
# part-docker20.sh: Docker 20.10 with overlay2, out of Debian 12's docker.io
# unpacked, on a containerd 1.6 of its own with Debian's runc. Old on purpose:
# many hosts still run it, and its save and load differ from today's.

DOCKER20_PACKAGES=(docker.io containerd runc tini)
DOCKER20_VERSION=20.10

part_docker20() {
  local path
  need_root
  needs DOCKER
  unpack docker20 "${DOCKER20_PACKAGES[@]}"
  [[ $(deb_version docker.io) == "$DOCKER20_VERSION".* ]] ||
    left_out "apt offers docker.io $(deb_version docker.io), wanted $DOCKER20_VERSION (Debian 12)"
  complete "$DEBROOT/usr/sbin/dockerd"
  # Debian's runc and shim come first here, not those of containerd 2.
  path="PATH=$DEBROOT/usr/sbin:$DEBROOT/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  write "$ETC/containerd16.toml" "$(containerd16_config)"
  ensure containerd16 30 containerd16_answers env "$path" LD_LIBRARY_PATH="$(deb_libs)" \
    "$DEBROOT/usr/bin/containerd" -c "$ETC/containerd16.toml"
  write "$ETC/docker20.json" "$(dockerd_settings docker20; docker20_settings)"
  DOCKERD=docker20 # read by dockerd_answers
  ensure docker20 60 dockerd_answers env "$path" LD_LIBRARY_PATH="$(deb_libs)" \
    "$DEBROOT/usr/sbin/dockerd" --config-file "$ETC/docker20.json"
  provide DOCKER20 "unix://$RUN/docker20.sock"
  detail "$(dockerd_version)"
}

# The key would otherwise be written to /etc/docker/key.json.
docker20_settings() {
  printf '  "containerd": "%s", "storage-driver": "overlay2", "deprecated-key-path": "%s" }\n' \
    "$RUN/containerd16.sock" "$DATA/docker20-key.json"
}

before_docker20() { rm -f "$RUN/docker20.pid"; }

# containerd 1.6 puts its shims' sockets into /run/containerd/s whatever one
# configures; their names are hashes of our socket path, so nothing collides.
containerd16_config() {
  cat <<TOML
version = 2
root = "$DATA/containerd16"
state = "$RUN/containerd16"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "$RUN/containerd16.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "$DATA/containerd16-opt"
TOML
}

containerd16_answers() {
  timeout 5 "$DEBROOT/usr/bin/ctr" --address "$RUN/containerd16.sock" version >/dev/null 2>&1
}
