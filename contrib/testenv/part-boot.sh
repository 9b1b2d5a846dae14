# shellcheck shell=bash
# part-boot.sh: the root of a small machine that boots systemd, for a container,
# as an archive for "docker import". It is unpacked packages, as everything of
# Debian's here: no maintainer script runs and nothing is mounted (debootstrap
# does both, and takes minutes where this takes seconds).

BOOT_TREE=$CACHE/systemd-tree.tar
# procps: ExecReload= of units calls its kill. libpam-systemd: the manager of a user
# gets its XDG_RUNTIME_DIR from it.
BOOT_PACKAGES=(systemd systemd-sysv libpam-systemd dbus procps base-files bash dash coreutils grep sed)

part_boot() {
  local stamp
  needs DOCKER29
  # The version of the scheme, for when making it changes.
  stamp="2 ${BOOT_PACKAGES[*]}"
  state 'already there'
  if [[ ! -f $BOOT_TREE || ! -f $STAMPS/boot || $(<"$STAMPS/boot") != "$stamp" ]]; then
    state made
    # One test uses it: without it the rest is still worth having.
    (boot_debs) || left_out "no packages for a tree of systemd: $(<"$WORK/reason")"
    boot_tree "$WORK/tree" || left_out "the packages do not make a tree of systemd"
    mv -f "$BOOT_TREE.new" "$BOOT_TREE"
    printf '%s' "$stamp" >"$STAMPS/boot"
  fi
  provide SYSTEMD_TREE "$BOOT_TREE"
  detail "$(($(stat -c %s "$BOOT_TREE") / 1000000)) MB"
}

# boot_debs: the tree has nothing from this machine, so all counts as missing.
boot_debs() {
  DEB_STATUS=$WORK/status
  : >"$DEB_STATUS"
  fetch_debs boot "${BOOT_PACKAGES[@]}"
}

# boot_tree FOLDER unpacks the packages there and packs them as one archive. Every
# step has its own "return": errexit does not count in a function before "||".
boot_tree() {
  local tree=$1 deb
  mkdir -p "$tree" || return
  while read -r deb; do
    case $deb in
      # For maintainer scripts only, and half of it all.
      perl* | libperl* | *-perl_* | usrmerge_* | debconf_*) continue ;;
    esac
    # /bin may be a link to usr/bin, by base-files, which comes early.
    dpkg-deb --fsys-tarfile "$CACHE/apt/archives/$deb" |
      tar -x -C "$tree" --no-same-owner --keep-directory-symlink \
        --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
        --exclude='./usr/share/info' --exclude='./usr/lib/*/gconv' || return
  done < <(sort "$WORK/debs")
  boot_settings "$tree" || return
  tar -c -C "$tree" --numeric-owner --owner=0 --group=0 -f "$BOOT_TREE.new" . || return
}

# boot_settings FOLDER writes what the maintainer scripts would have: the users
# that sysusers does not make at the boot. docker is the group that reaches the
# sidecar; user is one that has a manager of his own. With a machine's number this is
# no first boot, which asks questions.
boot_settings() {
  local etc=$1/etc
  [[ -e $1/sbin/init ]] || [[ -L $1/sbin/init ]] || return
  printf '%s\n' root:x:0:0:root:/root:/bin/sh \
    messagebus:x:100:100::/nonexistent:/usr/sbin/nologin \
    user:x:1000:1000::/home/user:/bin/sh \
    nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin >"$etc/passwd" || return
  printf '%s\n' root:x:0: messagebus:x:100: docker:x:101: user:x:1000: nogroup:x:65534: >"$etc/group" || return
  boot_pam "$etc/pam.d" || return
  tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id" || return
}

# boot_pam FOLDER writes who gets in: a user's manager, as in Debian without what asks
# for a terminal or, as pam_loginuid, fails in a container; and nobody else.
boot_pam() {
  printf '%s\n' 'account required pam_permit.so' 'session required pam_systemd.so' >"$1/systemd-user" || return
  printf '%s required pam_deny.so\n' auth account password session >"$1/other" || return
}
