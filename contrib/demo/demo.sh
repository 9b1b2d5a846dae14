#!/usr/bin/env bash
# demo.sh: the main job on a real image, from start to end: make it, change it,
# show what changed, prove that the result is right, compare the two ways to
# change compressed layers, and give the result to a daemon where one answers. "make demo" builds the programs and calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

occystrap=$PWD/bin/occystrap
work=$(mktemp -d "${TMPDIR:-/tmp}/occystrap-demo.XXXXXX")
name=occystrap-demo:$$ # of this run alone: what the user has is not ours to remove
ctr_name=docker.io/library/$name
loaded_docker='' loaded_ctr=''

cleanup() {
  [[ -z $loaded_docker ]] || docker image rm --force "$name" >/dev/null 2>&1 || true
  [[ -z $loaded_ctr ]] || ctr images rm "$ctr_name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "${*//$work/\$work}"; "$@"; }

# layers ARCHIVE prints the paths of an archive's layers, the lowest first.
layers() {
  tar -xOf "$1" manifest.json | sed 's/.*"Layers": *\[\([^]]*\)\].*/\1/' | tr -d '" ' | tr ',' '\n'
}

# content ARCHIVE N writes a list of the files in the N-th layer to standard
# output, with times to the second.
content() {
  local path
  path=$(layers "$1" | sed -n "$2p")
  tar -xOf "$1" "$path" >"$work/layer"
  TZ=UTC tar --full-time -tvf "$work/layer"
}

# diff_ids ARCHIVE prints the digests of the plain layers, as the config names them.
diff_ids() {
  local config
  config=$(tar -xOf "$1" manifest.json | sed 's/.*"Config": *"\([^"]*\)".*/\1/')
  tar -xOf "$1" "$config" | tr -d ' \n' | sed 's/.*"diff_ids":\[\([^]]*\)\].*/\1\n/' | tr -d '"' | tr ',' '\n'
}

size() { wc -c <"$work/$1.tar"; }
now() { date +%s%3N; } # milliseconds

step '1. A real image: the Go tree of this machine, in three layers'
run go run ./contrib/demo "$work/go.tar" "$name"
ls -l "$work/go.tar" | awk '{printf "%d MB\n", $5 / 1000000}'

filters=(-f normalize-timestamps:config=true -f 'exclude:pattern=**/testdata/**,**/*_test.go')
step '2. The main job: normalise times, leave test data out, check the result'
run "$occystrap" process "tar://$work/go.tar" "tar://$work/clean.tar" "${filters[@]}" --verify --verbose

step '3. What changed'
for n in 1 2 3; do
  content "$work/go.tar" "$n" >"$work/before"
  content "$work/clean.tar" "$n" >"$work/after"
  printf 'layer %d   %s → %s   %d → %d entries\n' "$n" \
    "$(basename "$(layers "$work/go.tar" | sed -n "${n}p")" | cut -c1-12)" \
    "$(basename "$(layers "$work/clean.tar" | sed -n "${n}p")" | cut -c1-12)" \
    "$(wc -l <"$work/before")" "$(wc -l <"$work/after")"
  # The first file that is in both: as it was, and as it is.
  file=$(awk '/^-/ {print $NF; exit}' "$work/after")
  grep -F -m1 " $file" "$work/before" | sed 's/^/  before  /'
  grep -F -m1 " $file" "$work/after" | sed 's/^/  after   /'
done
if content "$work/clean.tar" 1 | grep -q -e '/testdata/.' -e '_test\.go$'; then
  echo 'Error: files that were to be left out are still there' >&2
  exit 1
fi

step '4. The same again gives the same bytes'
run "$occystrap" process "tar://$work/go.tar" "tar://$work/again.tar" "${filters[@]}" --quiet
(cd "$work" && sha256sum clean.tar again.tar)
cmp "$work/clean.tar" "$work/again.tar"

step '5. Compressed layers: edit them in place, or compress them anew'
cat <<'TEXT'
A registry has layers compressed. Changing the times in them usually means: inflate, edit, compress again, and the last of these
takes most of the time. With --recompress transcode the bits that stand for the times are replaced, and all others are copied.
TEXT
run go run ./contrib/demo -gzip "$work/gzip.tar" "$name"
for how in canonical transcode; do
  start=$(now)
  run "$occystrap" process "tar://$work/gzip.tar" "tar://$work/$how.tar" -f normalize-timestamps --recompress "$how" --quiet
  printf -v "took_$how" '%s ms' $(($(now) - start))
done
echo
printf '%-32s %10s %12s\n' '' time bytes \
  'as it was' - "$(size gzip)" \
  'compressed anew (canonical)' "$took_canonical" "$(size canonical)" \
  'edited in place (transcode)' "$took_transcode" "$(size transcode)"
printf '\nBoth hold the same tars. Their digests (diff IDs), as the two images name them:\n'
diff_ids "$work/canonical.tar" >"$work/canonical.ids"
diff_ids "$work/transcode.tar" >"$work/transcode.ids"
paste -d '\n' "$work/canonical.ids" "$work/transcode.ids" | sort | uniq -c
cmp "$work/canonical.ids" "$work/transcode.ids"
echo 'And that is what is in the edited layers, inflated by gzip:'
layers "$work/transcode.tar" | while read -r path || [[ -n $path ]]; do
  tar -xOf "$work/transcode.tar" "$path" | gzip -dc | sha256sum | sed 's/^/sha256:/; s/ .*//'
done | tee "$work/inflated.ids"
cmp "$work/transcode.ids" "$work/inflated.ids"

step '6. A daemon'
answered=''
if timeout 10 docker version >/dev/null 2>&1; then
  answered=yes loaded_docker=yes
  run "$occystrap" process "tar://$work/clean.tar" "docker://$name"
  run docker image ls "$name"
  # A daemon inside a sandbox may hold images and not be able to run them.
  run docker run --rm --network none "$name" || echo 'The daemon holds the image and could not run it here.'
fi
if timeout 10 ctr version >/dev/null 2>&1; then
  answered=yes loaded_ctr=yes
  run ctr images import "$work/clean.tar"
  run ctr images ls "name==$ctr_name"
fi
if [[ -z $answered ]]; then
  echo 'Neither Docker nor containerd answers on this machine, so the image was not loaded; steps 1 to 5 need no daemon.'
fi

step 'Done'
