# shellcheck shell=bash
# part-containerd.sh: containerd 2 with its own root, state and socket. Both
# Docker 29 run on it, in namespaces of their own; ctr and tests use it too.

part_containerd() {
  need_root
  CGO_ENABLED=0 build_go containerd '' \
    github.com/containerd/containerd/v2/cmd/containerd \
    github.com/containerd/containerd/v2/cmd/ctr \
    github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
  needs RUNC
  provide CTR "$BIN/ctr"
  write "$ETC/containerd.toml" "$(containerd2_config)"
  ensure containerd 30 containerd_answers "$BIN/containerd" -c "$ETC/containerd.toml"
  provide CONTAINERD "$RUN/containerd.sock"
  detail "$("$BIN/containerd" --version | awk '{print $3}')"
}

# CRI and NRI are off: they would write to /etc/cni, /opt/cni and /var/run/nri.
# imports is empty, or /etc/containerd/conf.d would be read; socket_dir and opt
# would otherwise be /run/containerd/s and /opt/containerd.
containerd2_config() {
  cat <<TOML
version = 3
root = "$DATA/containerd"
state = "$RUN/containerd"
imports = []
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri", "io.containerd.podsandbox.controller.v1.podsandbox"]

[grpc]
address = "$RUN/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "$DATA/containerd-opt"

[plugins."io.containerd.shim.v1.manager"]
socket_dir = "$RUN/s"
TOML
}

containerd_answers() { timeout 5 "$BIN/ctr" --address "$RUN/containerd.sock" version >/dev/null 2>&1; }
