# shellcheck shell=bash disable=SC2034
# lib.sh: what every script here shares: the paths, the lock, and the frame in
# which up.sh runs one part after the other (state, seconds, reason, env lines).
# Processes are in process.sh, the parts themselves in part-*.sh.

TESTENV=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
CACHE=$TESTENV/.cache
BIN=$CACHE/bin        # tools built from go.mod, and wrappers round Debian's
DEBROOT=$CACHE/root   # Debian packages, unpacked, never installed
DATA=$CACHE/data      # what daemons store: images, containers, blobs
ETC=$CACHE/etc        # the configuration written for them, ports, password
LOG=$CACHE/log
STAMPS=$CACHE/stamp   # what is built or unpacked, by hash
PROCS=$CACHE/proc     # one file per process we started, see process.sh
ENV_FILE=$CACHE/env
CGROUP=occystrap-testenv

# Unix socket paths end at 107 bytes, containerd's shim directory at 42 and
# Podman's run root at 50. A clone too deep for that gets its sockets below /tmp.
RUN_LIMIT=40
RUN=$CACHE/run
if ((${#RUN} > RUN_LIMIT)); then
  RUN=/tmp/occystrap-testenv-$(id -u)-$(printf %s "$CACHE" | sha256sum | cut -c1-4)
fi

say() { printf '%s\n' "$*" >&3; }
die() { printf 'testenv: %s\n' "$*" >&2; exit 1; }
is_root() { [[ $(id -u) == 0 ]]; }
now() { local t=$EPOCHREALTIME; echo "${t/[.,]/}"; } # microseconds

# prepare_dirs makes our folders and refuses places where we could do harm.
prepare_dirs() {
  # The paths go unquoted into .cache/env, into TOML, JSON and YAML.
  [[ $TESTENV =~ ^[A-Za-z0-9_./+@-]+$ ]] ||
    die "the path $TESTENV has characters that do not survive an env file; clone elsewhere"
  mkdir -p "$CACHE" 2>/dev/null || true
  [[ -w $CACHE && -O $CACHE ]] ||
    die "$CACHE belongs to another user; run as that user, or remove it with down.sh --purge-all"
  mkdir -p "$BIN" "$DEBROOT" "$DATA" "$ETC" "$LOG" "$STAMPS" "$PROCS"
  mkdir -m 700 "$RUN" 2>/dev/null || true
  # Below /tmp somebody else may have made the folder before us.
  [[ -d $RUN && ! -L $RUN && -O $RUN ]] || die "$RUN is not a folder of ours; remove it"
  chmod 700 "$RUN"
}

# take_lock lets one up.sh or down.sh work at a time. Descriptor 9 is never
# handed to a daemon (process.sh closes it), else the lock would never end.
take_lock() {
  command -v flock >/dev/null || die "flock is missing (Debian: util-linux)"
  exec 9>"$CACHE/lock"
  flock -w 1800 9 || die "another up.sh or down.sh has held $CACHE/lock for half an hour"
}

# The frame. A part is a function that runs in a subshell with its output in
# $LOG/part-NAME.log and reports through these four.

state()    { printf '%s' "$1" >"$WORK/state"; }              # running, started, ...
detail()   { printf '%s' "$1" >"$WORK/detail"; }             # version or address
provide()  { printf 'OCCYSTRAP_TEST_%s=%s\n' "$1" "$2" >>"$WORK/env"; }
left_out() { printf '%s' "$1" >"$WORK/reason"; exit 3; }     # not possible on this machine
fail()     {                                                 # possible, and broken
  printf '%s' "$1" >"$WORK/reason"
  printf '%s' "${2:-}" >"$WORK/faillog"
  exit 1
}
need_root() { is_root || left_out "needs root, this is user $(id -un)"; }

# needs KEY stops a part whose ground is missing, e.g. Docker without containerd.
needs() {
  grep -q "^OCCYSTRAP_TEST_$1=" "$WORK_ALL/env" || left_out "needs $1, which is missing"
}

# run_part NAME KEYS FUNCTION runs one part, prints its line, and collects its
# env lines; each key without a value gets a MISSING line with the reason.
run_part() {
  local name=$1 keys=$2 part=$3 begun rc=0 word reason key log
  WORK=$(mktemp -d "$WORK_ALL/part.XXXXXX")
  touch "$WORK"/{state,detail,env,reason,faillog}
  log=$LOG/part-$name.log
  begun=$(now)
  # Not "if (...)": in a condition bash forgets errexit inside the subshell.
  set +e
  (set -e; "$part") >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  reason=$(<"$WORK/reason")
  case $rc in
    0) word=$(<"$WORK/state"); reason=$(<"$WORK/detail") ;;
    3) word='left out' ;;
    *) word=FAILED; reason=${reason:-stopped half way (exit $rc)} ;;
  esac
  report_line "$name" "$word" $(($(now) - begun)) "$reason"
  [[ $rc == 0 || $rc == 3 ]] || show_tail "$(<"$WORK/faillog")" "$log"
  if ((rc)); then
    echo "$name: $reason" >>"$WORK_ALL/missing"
    ((rc == 3)) || FAILED+=("$name")
  fi
  for key in $keys; do
    grep "^OCCYSTRAP_TEST_$key=" "$WORK/env" ||
      # The reason is one word: the file is sourced by shells and read by make.
      echo "OCCYSTRAP_TEST_MISSING_$key=$(printf %s "$reason" | tr -cs 'A-Za-z0-9_./:,@%+-' _)"
  done >>"$WORK_ALL/env"
}

report_line() {
  say "$(printf '%-18s %-16s %4d.%d s  %s' "$1" "$2" $(($3 / 1000000)) $(($3 / 100000 % 10)) "$4")"
}

# show_tail prints the end of the log of what failed, or of the part itself.
show_tail() {
  local log=$1
  [[ -n $log && -s $log ]] || log=$2
  say "    last lines of $log:"
  tail -n 20 "$log" | sed 's/^/    | /' >&3
}
