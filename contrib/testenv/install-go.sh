# shellcheck shell=bash
# install-go.sh: build the tools pinned in go.mod into $BIN. The module of
# tools is apart from the product's, so their dependencies stay out of it.

# find_go makes go callable; sudo often drops the folder from PATH.
find_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || left_out "needs go on PATH"
}

# build_go NAME FLAGS PACKAGE... builds if go.mod, go.sum, the flags or the
# compiler changed since the binaries were made. Sets BUILT to a word for state.
build_go() {
  local name=$1 flags=$2 stamp binary package
  shift 2
  find_go
  stamp=$(cd "$TESTENV" && { cat go.mod go.sum htpasswd/main.go; go version
    echo "$flags ${CGO_ENABLED:-}" "$@"; } | sha256sum)
  BUILT='already built'
  for package in "$@"; do
    binary=$BIN/${package##*/}
    [[ -x $binary ]] || BUILT=built
  done
  [[ -f $STAMPS/go-$name && $(<"$STAMPS/go-$name") == "$stamp" ]] || BUILT=built
  if [[ $BUILT == built ]]; then
    say "$name: building (minutes when the Go build cache is empty)"
    # Beside the old binaries, then moved: a running daemon keeps its file.
    rm -rf "$CACHE/build-$name"
    mkdir -p "$CACHE/build-$name"
    # GOWORK: a workspace of the user's must not change the pinned versions.
    # shellcheck disable=SC2086 # flags are words
    (cd "$TESTENV" && GOWORK=off go build -mod=readonly $flags -o "$CACHE/build-$name/" "$@") ||
      fail "go build $name" "$LOG/part-$name.log"
    mv -f "$CACHE/build-$name"/* "$BIN/"
    rmdir "$CACHE/build-$name"
    printf '%s' "$stamp" >"$STAMPS/go-$name"
  fi
  state "$BUILT"
}
