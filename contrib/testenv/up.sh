#!/usr/bin/env bash
# up.sh: install and start the real daemons and peer tools for the integration
# tests, and write .cache/env for them. Safe to run twice. See README.md.
# Read on in lib.sh (frame), process.sh (daemons), part-*.sh (one subject each).
set -euo pipefail
exec 3>&1 # what the user sees; the output of parts goes to logs

here=$(dirname "${BASH_SOURCE[0]}")
for file in lib process install-go install-debian part-peers part-registry \
  part-containerd part-docker29 part-docker20 part-podman part-ssh part-systemd part-boot; do
  # shellcheck source=/dev/null
  . "$here/$file.sh"
done
umask 022
prepare_dirs
take_lock

# write FILE TEXT changes a configuration file only if it differs.
write() { [[ -f $1 && $(<"$1") == "$2" ]] || printf '%s\n' "$2" >"$1"; }

# After a reboot what lies in the run folder describes nothing that lives.
if [[ ! -f $RUN/boot || $(<"$RUN/boot") != "$(boot_id)" ]]; then
  rm -rf --one-file-system "${RUN:?}"/*
  boot_id >"$RUN/boot"
fi

WORK_ALL=$(mktemp -d)
trap 'rm -rf "$WORK_ALL"' EXIT
touch "$WORK_ALL"/{env,missing}
FAILED=()
begun=$(now)

run_part gotools           'CRANE REGCTL REGISTRY_BIN' part_gotools
run_part registry          REGISTRY part_registry
run_part registry-auth     'REGISTRY_AUTH REGISTRY_USER REGISTRY_PASSWORD' part_registry_auth
run_part peers             'SKOPEO UMOCI CRUN' part_peers
run_part docker-cli        DOCKER part_dockercli
run_part runc              RUNC part_runc
run_part containerd        'CONTAINERD CTR' part_containerd
run_part docker29          DOCKER29 part_docker29
run_part docker29-overlay2 DOCKER29_OVERLAY2 part_docker29_overlay2
run_part docker20          DOCKER20 part_docker20
run_part podman            'PODMAN PODMAN_BIN' part_podman
run_part ssh               'SSH SSH_CONFIG SSH_BIN' part_ssh
run_part systemd           'SOCKET_ACTIVATE SYSTEMD_ANALYZE' part_systemd
run_part boot              SYSTEMD_TREE part_boot

# 600: it holds the registry's password.
(umask 077; cat "$WORK_ALL/env" >"$ENV_FILE.new")
mv -f "$ENV_FILE.new" "$ENV_FILE"
report_line all '' $(($(now) - begun)) "$ENV_FILE"

# Left out is fine on a developer's machine; broken is not, and in CI neither is.
if [[ ${CI:-} == true && -s $WORK_ALL/missing ]]; then
  die "CI=true and these parts are missing: $(paste -sd';' "$WORK_ALL/missing")"
fi
((${#FAILED[@]} == 0)) || die "failed: ${FAILED[*]}"
