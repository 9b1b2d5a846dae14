# shellcheck shell=bash
# part-docker29.sh: Docker 29 twice from one binary: with the containerd image
# store (its default) and with the overlay2 graph driver. Also the settings
# that keep any dockerd of ours (part-docker20.sh too) away from the machine.

# dockerd_settings NAME prints the common part of daemon.json, without the last
# brace. No bridge, no iptables, no ip_forward: the machine's network stays as
# it is. cgroupfs: the systemd driver would make units in the user's systemd.
dockerd_settings() {
  cat <<JSON
{
  "hosts": ["unix://$RUN/$1.sock"], "group": "root",
  "data-root": "$DATA/$1", "exec-root": "$RUN/$1", "pidfile": "$RUN/$1.pid",
  "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
  "userland-proxy": false, "init-path": "$DEBROOT/usr/bin/tini-static", "cgroup-parent": "/$CGROUP", "exec-opts": ["native.cgroupdriver=cgroupfs"],
JSON
}

build_dockerd29() {
  # Upstream's build script fills in the version; without it dockerd says
  # "library-import". Version numbers of the module are those of moby, not 29.
  CGO_ENABLED=0 build_go docker29 \
    "-ldflags=-X=github.com/moby/moby/v2/dockerversion.Version=$MOBY_VERSION" \
    github.com/moby/moby/v2/cmd/dockerd
}
MOBY_VERSION=$(sed -n 's,^\tgithub.com/moby/moby/v2 v\([^ ]*\).*,\1,p' "$TESTENV/go.mod")

# dockerd29 NAME SETTINGS starts one of the two.
dockerd29() {
  local name=$1
  need_root
  needs CONTAINERD
  needs DOCKER
  build_dockerd29
  write "$ETC/$name.json" "$(dockerd_settings "$name"; echo "  \"containerd\": \"$RUN/containerd.sock\", $2 }")"
  DOCKERD=$name
  # --config-file is needed even so: the default one is /etc/docker/daemon.json.
  ensure "$name" 60 dockerd_answers "$BIN/dockerd" --config-file "$ETC/$name.json"
  detail "$(dockerd_version)"
}

part_docker29() {
  dockerd29 docker29 '"features": {"containerd-snapshotter": true}' # the default, said aloud
  provide DOCKER29 "unix://$RUN/docker29.sock"
}

part_docker29_overlay2() {
  dockerd29 docker29-overlay2 '"features": {"containerd-snapshotter": false}, "storage-driver": "overlay2",
  "containerd-namespace": "moby-overlay2", "containerd-plugins-namespace": "plugins.moby-overlay2"'
  provide DOCKER29_OVERLAY2 "unix://$RUN/docker29-overlay2.sock"
}

# A pidfile of a killed dockerd may name a living process of somebody else's.
before_docker29()          { rm -f "$RUN/docker29.pid"; }
before_docker29-overlay2() { rm -f "$RUN/docker29-overlay2.pid"; }

# docker_at SOCKET ARGUMENT... calls the client without the user's settings.
docker_at() {
  local socket=$1
  shift
  mkdir -p "$ETC/docker-cli"
  env -u DOCKER_HOST -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_TLS -u DOCKER_API_VERSION \
    DOCKER_CONFIG="$ETC/docker-cli" timeout 10 \
    "$(sed -n 's/^OCCYSTRAP_TEST_DOCKER=//p' "$WORK_ALL/env")" -H "unix://$socket" "$@"
}

dockerd_answers() { docker_at "$RUN/$DOCKERD.sock" version >/dev/null 2>&1; }
dockerd_version() {
  docker_at "$RUN/$DOCKERD.sock" info -f '{{.ServerVersion}} {{.Driver}} {{range .DriverStatus}}{{if eq (index . 0) "driver-type"}}{{index . 1}}{{end}}{{end}}'
}
