#!/usr/bin/env bash
# down.sh: stop what up.sh started, and nothing else; unmount what is left below
# our folders. Images, binaries and downloads stay for the next time.
#   down.sh --purge      also removes the daemons' data and configuration
#   down.sh --purge-all  removes all of .cache and the run folder
# Which processes are ours: process.sh (daemons), leftovers below (the rest).
set -euo pipefail
exec 3>&1

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=/dev/null
. "$here/lib.sh"
# shellcheck source=/dev/null
. "$here/process.sh"

purge=${1:-}
[[ $# -le 1 && $purge =~ ^(|--purge|--purge-all)$ ]] || die "usage: down.sh [--purge|--purge-all]"
[[ -d $CACHE ]] || { say "nothing to stop"; exit 0; }
prepare_dirs
take_lock

# leftovers prints the PIDs of helpers our daemons started that outlive them:
# shims, conmon and the like, known by their file lying in our folders.
leftovers() {
  local link target
  for link in /proc/[0-9]*/exe; do
    target=$(readlink "$link" 2>/dev/null) || continue
    case $target in
      "$BIN"/* | "$DEBROOT"/*) link=${link#/proc/}; echo "${link%/exe}" ;;
    esac
  done
}

# descendants PID prints the PIDs below it: a shim's containers.
descendants() {
  local child
  # shellcheck disable=SC2013 # PIDs are words
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
    echo "$child"
    descendants "$child"
  done
}

mounts_below() { # deepest first
  awk -v a="$CACHE/" -v b="$RUN/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' \
    /proc/self/mountinfo | sort -r
}

# Containers of Podman belong to no daemon: ask for their end before the service's.
if [[ -x $BIN/podman ]] && ours podman >/dev/null; then
  timeout 30 "$BIN/podman" stop --all --time 2 >/dev/null 2>&1 </dev/null 9>&- || true
fi

for name in sshd podman docker20 containerd16 docker29-overlay2 docker29 containerd registry-auth registry; do
  begun=$(now)
  if ours "$name" >/dev/null; then
    stop "$name"
    report_line "$name" stopped $(($(now) - begun)) ''
  else
    rm -f "$PROCS/$name"
    report_line "$name" 'was not running' 0 ''
  fi
done

for pid in $(leftovers); do
  for child in $(descendants "$pid"); do kill -KILL "$child" 2>/dev/null || true; done
  kill -KILL "$pid" 2>/dev/null || true
done

for path in $(mounts_below); do umount "$path" 2>/dev/null || true; done
# Busy ones have still ending users; detached, they vanish with them.
for path in $(mounts_below); do umount -l "$path" 2>/dev/null || true; done
[[ -z $(mounts_below) ]] || die "still mounted, nothing removed: $(mounts_below | paste -sd' ')"

# Our cgroups are empty now; rmdir does not remove one that is not.
find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} + 2>/dev/null || true
rm -f "$ENV_FILE"

# --one-file-system is the second guard against deleting through a mount.
case $purge in
  --purge) rm -rf --one-file-system "$DATA" "$ETC" "$LOG" "$PROCS" "$RUN" ;;
  --purge-all) rm -rf --one-file-system "$RUN" "$CACHE" ;;
esac
