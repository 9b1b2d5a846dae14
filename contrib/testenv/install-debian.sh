# shellcheck shell=bash
# install-debian.sh: fetch Debian packages and unpack them into $DEBROOT.
# Nothing is installed: apt's lists and archives are folders of ours, and dpkg
# only unpacks, so no service starts, nothing conflicts, and root is not needed.

# A dry "install" instead of "apt-get download": apt then also fetches exactly
# the libraries that this machine lacks.
apt_private() {
  mkdir -p "$CACHE/apt/lists/partial" "$CACHE/apt/archives/partial"
  apt-get -q -o Dir::State::Lists="$CACHE/apt/lists" -o Dir::Cache="$CACHE/apt" \
    ${DEB_STATUS:+-o "Dir::State::status=$DEB_STATUS"} -o Debug::NoLocking=1 "$@"
}

# fetch_debs GROUP PACKAGE... fetches the packages and what they need that is not
# here; "here" is this machine, or an empty file that DEB_STATUS names. The files
# are in the archive folder, their names in $WORK/debs.
fetch_debs() {
  local group=$1
  shift
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    left_out "needs Debian packages ($*), and this machine has no apt-get"
  fi
  say "$group: fetching Debian packages $*"
  if [[ ! -e $WORK_ALL/apt-updated ]]; then
    apt_private update || left_out "apt-get update found no package lists"
    touch "$WORK_ALL/apt-updated"
  fi
  # An empty archive folder, because apt does not list what it already has.
  mkdir -p "$WORK/none/partial"
  apt_private install -y -o Dir::Cache::archives="$WORK/none" --print-uris \
    --reinstall --no-install-recommends "$@" >"$WORK/uris" || left_out "apt-get finds no packages $*"
  apt_private install -y --download-only --reinstall --no-install-recommends "$@" ||
    fail "apt-get could not fetch $*" "$LOG/part-$group.log"
  # --print-uris names the files: 'URI' name_version_arch.deb size hash
  sed -n "s/^'[^']*' \([^ ]*\.deb\) .*/\1/p" "$WORK/uris" >"$WORK/debs"
  [[ -s $WORK/debs ]] || fail "apt-get names no files for $*" "$WORK/uris"
}

# unpack GROUP PACKAGE... makes the packages' files available below $DEBROOT.
unpack() {
  local group=$1 stamp deb
  shift
  # The version of the scheme, for when unpacking itself changes.
  stamp="1 $*"
  [[ -f $STAMPS/deb-$group && $(<"$STAMPS/deb-$group") == "$stamp" ]] && return
  fetch_debs "$group" "$@"
  while read -r deb; do
    dpkg -x "$CACHE/apt/archives/$deb" "$DEBROOT"
  done <"$WORK/debs"
  printf '%s' "$stamp" >"$STAMPS/deb-$group"
}

# deb_version PACKAGE prints the version of the newest archive fetched for it.
deb_version() {
  local deb
  # shellcheck disable=SC2012 # package names hold no odd characters
  deb=$(ls -t "$CACHE/apt/archives/$1"_*.deb | head -n 1)
  dpkg-deb -f "$deb" Version
}

deb_libs() { local d; for d in "$DEBROOT"/usr/lib/*-linux-gnu*/; do printf '%s' "${d%/}"; return; done; }

# wrap NAME TARGET [VARIABLE=VALUE...] [-- ARGUMENT...] writes $BIN/NAME, which
# starts an unpacked program with its libraries. It execs, so PIDs stay true.
wrap() {
  local name=$1 target=$2 word
  shift 2
  {
    echo '#!/bin/sh'
    echo "# Written by up.sh: a program of an unpacked Debian package, with its libraries."
    echo "export LD_LIBRARY_PATH=\"$(deb_libs)\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\""
    while (($#)) && [[ $1 != -- ]]; do echo "export '$1'"; shift; done
    (($# == 0)) || shift
    printf "exec '%s'" "$target"
    for word in "$@"; do printf " '%s'" "$word"; done
    echo ' "$@"'
  } >"$BIN/.$name.new"
  chmod 755 "$BIN/.$name.new"
  # Only if it differs: a new time would restart the daemon behind it.
  if cmp -s "$BIN/.$name.new" "$BIN/$name"; then
    rm "$BIN/.$name.new"
  else
    mv -f "$BIN/.$name.new" "$BIN/$name"
  fi
}

# complete PROGRAM fails the part if a library is missing for it.
complete() {
  local lacks
  lacks=$(LD_LIBRARY_PATH=$(deb_libs) ldd "$1" 2>/dev/null | awk '/not found/ {printf "%s ", $1}')
  [[ -z $lacks ]] || fail "${1##*/} lacks the libraries $lacks"
}
