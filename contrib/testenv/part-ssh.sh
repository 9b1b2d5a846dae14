# shellcheck shell=bash
# part-ssh.sh: an ssh server on 127.0.0.1, out of unpacked Debian packages, by
# which this machine plays another one: root logs in with a key of ours, and
# "docker system dial-stdio" there reaches Docker 29 (or, by the path in the
# address, any socket: ssh://root@127.0.0.1:PORT/path/of/docker.sock).

part_ssh() {
  local docker
  need_root
  needs DOCKER
  needs DOCKER29
  command -v unshare >/dev/null || left_out "needs unshare (Debian: util-linux)"
  unpack ssh openssh-server openssh-client
  complete "$DEBROOT/usr/sbin/sshd"
  complete "$DEBROOT/usr/bin/ssh"
  docker=$(sed -n 's/^OCCYSTRAP_TEST_DOCKER=//p' "$WORK_ALL/env")
  mkdir -p "$SSH/bin" "$SSH/there" "$SSH/home"
  chmod 700 "$SSH"
  # All that a machine with Docker has, and nothing of ours.
  ln -sfn "$docker" "$SSH/there/docker"
  ssh_key host_key
  ssh_key user_key
  SSH_PORT=$(keep_port sshd)
  write "$SSH/passwd" "$(printf '%s\n' "root:x:0:0:root:$SSH/home:/bin/sh" 'sshd:x:109:65534::/run/sshd:/bin/false')"
  write "$SSH/shadow" 'root:*:19000:0:99999:7:::'
  write "$SSH/known_hosts" "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1-2 "$SSH/host_key.pub")"
  write "$ETC/sshd_config" "$(sshd_config)"
  write "$ETC/ssh_config" "$(ssh_config)"
  ssh_client
  wrap sshd "$(command -v unshare)" -- --mount --propagation slave /bin/sh -c "$(sshd_in_its_room)" sshd
  ensure sshd 30 sshd_answers "$BIN/sshd" -D -e -f "$ETC/sshd_config"
  provide SSH "ssh://root@127.0.0.1:$SSH_PORT"
  provide SSH_CONFIG "$ETC/ssh_config"
  provide SSH_BIN "$SSH/bin"
  detail "127.0.0.1:$SSH_PORT"
}
SSH=$ETC/ssh

# ssh_key NAME makes a key once.
ssh_key() {
  [[ -s $SSH/$1.pub ]] || {
    rm -f "$SSH/$1"
    LD_LIBRARY_PATH=$(deb_libs) "$DEBROOT/usr/bin/ssh-keygen" -q -t ed25519 -N '' -C occystrap-testenv -f "$SSH/$1"
  }
}

# sshd wants a user of the name sshd, and takes the home from the list of users:
# it runs in a mount namespace with a list of its own, so that nobody's is
# changed. slave: a mount that it sees there must not keep a container's busy.
sshd_in_its_room() {
  printf '%s; ' 'set -e' 'mkdir -p -m 755 /run/sshd' \
    "mount --bind $SSH/passwd /etc/passwd" "mount --bind $SSH/shadow /etc/shadow"
  printf 'exec %s "$@"' "$DEBROOT/usr/sbin/sshd"
}

# MaxStartups, MaxSessions: tests log in many at a time, and none may be turned
# away. SetEnv: one line, sshd reads only the first.
sshd_config() {
  cat <<CONF
ListenAddress 127.0.0.1:$SSH_PORT
HostKey $SSH/host_key
AuthorizedKeysFile $SSH/user_key.pub
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
GatewayPorts no
X11Forwarding no
MaxStartups 200:30:400
MaxSessions 200
LoginGraceTime 600
SetEnv PATH=$SSH/there:/usr/sbin:/usr/bin:/sbin:/bin DOCKER_HOST=unix://$RUN/docker29.sock DOCKER_CONFIG=$SSH/home/docker
CONF
}

ssh_config() {
  cat <<CONF
Host *
  User root
  IdentityFile $SSH/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile $SSH/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  LogLevel ERROR
CONF
}

# ssh_client writes the ssh that is found first where SSH_BIN heads the PATH.
ssh_client() {
  local client=$SSH/bin/ssh
  write "$client" "$(printf '%s\n' '#!/bin/sh' \
    '# Written by up.sh: ssh that knows the key and the host key of testenv.' \
    "export LD_LIBRARY_PATH='$(deb_libs)'" \
    "exec $DEBROOT/usr/bin/ssh -F $ETC/ssh_config \"\$@\"")"
  chmod 755 "$client"
}

sshd_answers() { timeout 10 "$SSH/bin/ssh" -p "$SSH_PORT" 127.0.0.1 'docker version' >/dev/null 2>&1; }
