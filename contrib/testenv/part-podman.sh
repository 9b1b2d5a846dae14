# shellcheck shell=bash
# part-podman.sh: Podman's API service out of unpacked Debian packages. All it
# would keep in /etc/containers, /var/lib/containers, /run and /dev/shm is
# pointed into our folders, so that a Podman of the user's is not seen or touched.

part_podman() {
  local vars
  need_root
  needs CRUN
  needs DOCKER
  unpack podman podman conmon netavark crun golang-github-containers-common tini
  complete "$DEBROOT/usr/bin/podman"
  complete "$DEBROOT/usr/bin/conmon"
  # HOME is where policy.json is looked for when /etc/containers has none.
  mkdir -p "$ETC/podman-home/.config/containers"
  cp "$ETC/policy.json" "$ETC/podman-home/.config/containers/policy.json"
  write "$ETC/containers.conf" "$(containers_conf)"
  write "$ETC/storage.conf" "$(storage_conf)"
  vars=(HOME="$ETC/podman-home" CONTAINERS_CONF="$ETC/containers.conf"
    CONTAINERS_STORAGE_CONF="$ETC/storage.conf" CONTAINERS_REGISTRIES_CONF="$ETC/registries.conf")
  # conmon needs the same: at a container's end it starts podman by itself.
  wrap conmon "$DEBROOT/usr/bin/conmon" "${vars[@]}"
  wrap podman "$DEBROOT/usr/bin/podman" "${vars[@]}"
  provide PODMAN_BIN "$BIN/podman"
  # TESTENV_CONFIG is read by nobody; it makes a new configuration a new command.
  ensure podman 30 podman_answers env "TESTENV_CONFIG=$(cat "$ETC"/{containers,storage,registries}.conf | sha256sum | cut -c1-16)" \
    "$BIN/podman" system service --time=0 "unix://$RUN/podman.sock"
  provide PODMAN "unix://$RUN/podman.sock"
  detail "$("$BIN/podman" --version)"
}

# default_ulimits: Podman asks for more open files than a root without
# CAP_SYS_RESOURCE may have; what we have ourselves is always allowed.
# lock_type: shared memory locks have one name for all Podmans of a machine.
containers_conf() {
  local word=
  if [[ -e $DEBROOT/usr/share/containers/seccomp.json ]]; then
    word="seccomp_profile = \"$DEBROOT/usr/share/containers/seccomp.json\""
  fi
  cat <<TOML
[containers]
default_ulimits = ["nofile=$(limit n):$(limit n)", "nproc=$(limit u):$(limit u)"]
log_driver = "k8s-file"
$word

[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
conmon_path = ["$BIN/conmon"]
helper_binaries_dir = ["$DEBROOT/usr/lib/podman"]
init_path = "$DEBROOT/usr/bin/tini-static"
hooks_dir = []
static_dir = "$DATA/podman/libpod"
volume_path = "$DATA/podman/volumes"
tmp_dir = "$RUN/podman-tmp"
image_copy_tmp_dir = "storage"

[engine.runtimes]
crun = ["$BIN/crun"]

[network]
network_backend = "netavark"
network_config_dir = "$ETC/podman-networks"
TOML
}

# limit LETTER prints the highest limit that a container may be given: ours,
# or the lower one that Podman gives itself at its start.
limit() {
  local have most
  have=$(ulimit -H"$1")
  case $1 in
    n) most=1048576 ;;
    u) most=$(</proc/sys/kernel/pid_max) ;;
  esac
  if [[ $have == unlimited ]] || ((have > most)); then have=$most; fi
  echo "$have"
}

storage_conf() {
  cat <<TOML
[storage]
driver = "overlay"
graphroot = "$DATA/podman"
runroot = "$RUN/podman"
TOML
}

podman_answers() { docker_at "$RUN/podman.sock" version >/dev/null 2>&1; }

# The service leaves its socket behind, and then says "address already in use".
before_podman() { rm -f "$RUN/podman.sock"; }
