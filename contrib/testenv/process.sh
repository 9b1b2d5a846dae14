# shellcheck shell=bash
# process.sh: start daemons that outlive the script, know them again, stop them.
# A process is ours when PID, start time and boot id all match what we recorded
# in $PROCS/NAME; a PID alone may have been given to somebody else since.

STOP_SECONDS=25 # dockerd gives its containers 15 s before it ends

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# start_time PID prints field 22 of /proc/PID/stat; nothing for a zombie.
start_time() {
  local line fields
  line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The second field is the name in brackets and may hold spaces.
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# ours NAME prints the PID of the daemon NAME if that very process still runs.
ours() {
  local pid begun boot
  [[ -s $PROCS/$1 ]] || return 1
  read -r pid begun boot _ <"$PROCS/$1"
  [[ $boot == "$(boot_id)" && $begun == "$(start_time "$pid")" ]] && echo "$pid"
}

# fingerprint COMMAND... changes when a daemon must be started anew: another
# command line, another configuration file on it, another build of the binary.
fingerprint() {
  local word
  for word in "$@"; do
    printf '%s\n' "$word"
    case $word in
      "$ETC"/*) cat "$word" ;;
      "$BIN"/* | "$DEBROOT"/*) stat -Lc '%s %Y' "$word" ;;
    esac
  done | sha256sum | cut -c1-32
}

# clean_env prints the environment of our daemons. It is not the caller's:
# DOCKER_*, REGISTRY_*, CONTAINERS_* and NOTIFY_SOCKET would steer them.
clean_env() {
  local name
  printf '%s\n' "PATH=$BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "HOME=$DATA/home" LANG=C.UTF-8
  for name in {HTTP,HTTPS,NO}_PROXY {http,https,no}_proxy SSL_CERT_FILE SSL_CERT_DIR; do
    [[ -z ${!name:-} ]] || printf '%s\n' "$name=${!name}"
  done
}

# launch NAME COMMAND... starts a daemon in a session of its own, with nothing
# of ours open: a caller's pipe held by a daemon would keep CI waiting.
launch() {
  local name=$1 pid fd vars
  shift
  mapfile -t vars < <(clean_env)
  mkdir -p "$DATA/home"
  [[ ! -e $LOG/$name.log ]] || mv -f "$LOG/$name.log" "$LOG/$name.log.1"
  (
    cd /
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      ((fd <= 2)) || eval "exec $fd>&-"
    done
    exec setsid env -i "${vars[@]}" "$@"
  ) </dev/null >"$LOG/$name.log" 2>&1 &
  pid=$!
  echo "$pid $(start_time "$pid") $(boot_id) $FINGERPRINT" >"$PROCS/$name"
}

# await NAME SECONDS PROBE waits until PROBE succeeds; no longer than the
# process lives.
await() {
  local name=$1 probe=$3 end=$((SECONDS + $2))
  until "$probe"; do
    ours "$name" >/dev/null || return 1
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# ensure NAME SECONDS PROBE COMMAND... leaves the daemon running and answering:
# nothing to do, or started, or (half dead or changed) stopped and started.
ensure() {
  local name=$1 seconds=$2 probe=$3 word=started
  shift 3
  FINGERPRINT=$(fingerprint "$@")
  if ours "$name" >/dev/null; then
    if [[ $(awk '{print $4}' "$PROCS/$name") == "$FINGERPRINT" ]] && await "$name" 5 "$probe"; then
      state 'already running'
      return
    fi
    stop "$name"
    word=restarted
  fi
  if declare -F "before_$name" >/dev/null; then "before_$name"; fi
  launch "$name" "$@"
  await "$name" "$seconds" "$probe" || {
    if ours "$name" >/dev/null; then
      stop "$name"
      fail "$name did not answer within $seconds s" "$LOG/$name.log"
    fi
    fail "$name ended at once" "$LOG/$name.log"
  }
  state "$word"
}

# stop NAME ends the daemon if it is ours: politely, then by force.
stop() {
  local name=$1 pid end
  if pid=$(ours "$name"); then
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true # a halted one would not see it
    end=$((SECONDS + STOP_SECONDS))
    while ours "$name" >/dev/null; do
      if ((SECONDS >= end)); then kill -KILL "$pid" 2>/dev/null || true; fi
      sleep 0.1
    done
  fi
  rm -f "$PROCS/$name"
}
