# shellcheck shell=bash
# part-systemd.sh: systemd's own programs for sockets and units, out of unpacked
# Debian packages: they judge our units, and start the sidecar as systemd does,
# where systemd is not process 1 or not there at all.

part_systemd() {
  local libs program
  state unpacked
  [[ ! -f $STAMPS/deb-systemd ]] || state 'already there'
  unpack systemd systemd libsystemd-shared
  libs=$(deb_libs)
  for program in systemd-socket-activate systemd-analyze; do
    # SYSTEMD_UNIT_PATH: the targets that our units name, whatever runs here.
    wrap "$program" "$DEBROOT/usr/bin/$program" "LD_LIBRARY_PATH=$libs/systemd:$libs" \
      "SYSTEMD_UNIT_PATH=$(systemd_units):" SYSTEMD_PAGER=cat
    "$BIN/$program" --version
  done
  provide SOCKET_ACTIVATE "$BIN/systemd-socket-activate"
  provide SYSTEMD_ANALYZE "$BIN/systemd-analyze"
  detail "$("$BIN/systemd-analyze" --version | head -n 1)"
}

systemd_units() { echo "$DEBROOT/lib/systemd/system"; }
