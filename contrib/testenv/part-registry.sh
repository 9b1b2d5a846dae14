# shellcheck shell=bash
# part-registry.sh: two distribution registries on 127.0.0.1, one open and one
# that wants the user testuser and a generated password. Deletion is allowed.

PORT_FIRST=20000 # below the ports that the kernel hands out itself
PORT_SPAN=10000

part_registry()      { need_registry; serve registry ''; provide REGISTRY "127.0.0.1:$(<"$ETC/registry.port")"; }
part_registry_auth() {
  local password=$ETC/registry-auth.password
  need_registry
  if [[ ! -s $ETC/registry-auth.htpasswd ]]; then
    (umask 077
      od -An -tx1 -N12 /dev/urandom | tr -d ' \n' >"$password"
      { cat "$password"; echo; } | "$BIN/htpasswd" testuser >"$ETC/registry-auth.htpasswd")
  fi
  serve registry-auth "auth: {htpasswd: {realm: testenv, path: $ETC/registry-auth.htpasswd}}"
  provide REGISTRY_AUTH "127.0.0.1:$(<"$ETC/registry-auth.port")"
  provide REGISTRY_USER testuser
  provide REGISTRY_PASSWORD "$(<"$password")"
}

need_registry() { needs REGISTRY_BIN; }

# keep_port NAME prints the port of the last time, or another if somebody has it
# now.
keep_port() {
  local name=$1 port
  port=$(cat "$ETC/$name.port" 2>/dev/null || true)
  if ! ours "$name" >/dev/null; then
    while [[ -z $port ]] || taken "$port"; do port=$((PORT_FIRST + RANDOM % PORT_SPAN)); done
    echo "$port" >"$ETC/$name.port"
  fi
  echo "$port"
}

# serve NAME YAML runs a registry.
serve() {
  local name=$1 auth=$2 port
  port=$(keep_port "$name")
  write "$ETC/$name.yml" "$(cat <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $DATA/$name}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
$auth
YAML
)"
  REGISTRY_PORT=$port
  # Traces would go to a collector that nobody runs, with an error each.
  ensure "$name" 15 registry_answers env OTEL_TRACES_EXPORTER=none \
    "$BIN/registry" serve "$ETC/$name.yml"
  detail "127.0.0.1:$port"
}

taken() { (exec 5<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# registry_answers wants 200, or 401 from the one with a password.
registry_answers() {
  (
    exec 5<>"/dev/tcp/127.0.0.1/$REGISTRY_PORT"
    printf 'GET /v2/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&5
    read -r -t 3 line <&5
    [[ $line == *' 200 '* || $line == *' 401 '* ]]
  ) 2>/dev/null
}
