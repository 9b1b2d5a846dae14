#!/usr/bin/env bash
# What the archives of Docker, Podman, skopeo, crane, containerd and this program
# look like, and who loads which: the facts of contrib/docs/archive-formats.md,
# as tables of Markdown. It takes a minute and cleans up after itself.
#   contrib/testenv/up.sh && contrib/testenv/archives.sh [IMAGE.tar]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
image=$(realpath "${1:-$repo/pipeline/scheme/tarball/testdata/images/dive-test-docker-image.tar}")
# shellcheck disable=SC1091
. "${OCCYSTRAP_TEST_ENV:-$here/.cache/env}"
work=$(mktemp -d)
trap 'forget; rm -rf "$work"' EXIT
(cd "$repo" && go build -o "$work/occystrap" ./cmd/docker-occystrap)
cd "$work"

name=$OCCYSTRAP_TEST_REGISTRY/formats/app
docker20() { "$OCCYSTRAP_TEST_DOCKER" -H "$OCCYSTRAP_TEST_DOCKER20" "$@"; }
docker29() { "$OCCYSTRAP_TEST_DOCKER" -H "$OCCYSTRAP_TEST_DOCKER29" "$@"; }
overlay2() { "$OCCYSTRAP_TEST_DOCKER" -H "$OCCYSTRAP_TEST_DOCKER29_OVERLAY2" "$@"; }
podman() { "$OCCYSTRAP_TEST_PODMAN_BIN" "$@"; }
skopeo() { "$OCCYSTRAP_TEST_SKOPEO" "$@"; }
crane() { "$OCCYSTRAP_TEST_CRANE" "$@"; }
umoci() { "$OCCYSTRAP_TEST_UMOCI" "$@"; }
ctr() { "$OCCYSTRAP_TEST_CTR" -a "$OCCYSTRAP_TEST_CONTAINERD" -n occystrap-archives "$@"; }

# forget removes what daemons and registry have of ours.
forget() {
	local engine ref
	for engine in docker20 docker29 overlay2 podman; do
		for ref in "$name:1" "$name:zstd" localhost/app:1; do "$engine" rmi -f "$ref"; done
	done
	ctr images ls -q | while read -r ref; do ctr images rm "$ref"; done
} >/dev/null 2>&1

write() {
	./occystrap process -q "tar://$image" "registry://$name:plain?insecure=true"
	./occystrap process -q "registry://$name:plain" "registry://$name:1" --compression gzip
	./occystrap process -q "registry://$name:1" "registry://$name:zstd" --compression zstd
	local engine
	for engine in docker20 docker29 overlay2 podman; do "$engine" pull -q "$name:1"; done
	docker20 save -o docker20.tar "$name:1"
	docker29 save -o docker29.tar "$name:1"
	overlay2 save -o docker29-overlay2.tar "$name:1"
	podman save -q -o podman.tar "$name:1"
	podman save -q --format oci-archive -o podman-oci.tar "$name:1"
	skopeo copy -q "docker://$name:1" "docker-archive:skopeo.tar:$name:1"
	skopeo copy -q "docker://$name:1" "oci-archive:skopeo-oci.tar:$name:1"
	crane pull "$name:1" crane.tar
	crane pull --format legacy "$name:1" crane-legacy.tar
	ctr images pull --plain-http "$name:1"
	ctr images export --local ctr.tar "$name:1"
	./occystrap process -q "registry://$name:1" tar://ours-auto.tar
	./occystrap process -q "registry://$name:1" 'tar://ours-docker.tar?format=docker'
	./occystrap process -q "registry://$name:1" 'tar://ours-oci.tar?format=oci'
	./occystrap process -q "registry://$name:zstd" tar://ours-auto-zstd.tar
	./occystrap process -q "registry://$name:zstd" 'tar://ours-oci-zstd.tar?format=oci'
} >/dev/null 2>write.log

# compression tells the kinds of the layers of an archive by their first bytes.
compression() {
	local blob kind
	tar -tvf "$1" | awk '/^-/ {print $NF}' | while read -r blob; do
		kind=$(tar -xOf "$1" "$blob" | od -An -tx1 -N4 | tr -d " ") || true
		case $kind in
		1f8b*) echo gzip ;;
		28b52ffd) echo zstd ;;
		7b* | 5b* | 312e*) ;; # JSON, VERSION
		*) echo plain ;;
		esac
	done | sort -u | paste -sd,
}

yes() { case $'\n'$(tar -tf "$1")$'\n' in *$'\n'"$2"$'\n'*) echo yes ;; *) echo – ;; esac; }

describe() {
	echo '| archive | layers | entry of a layer | links | `manifest.json` | `repositories` | `index.json` | `ref.name` |'
	echo '|---|---|---|---|---|---|---|---|'
	local f like links ref
	for f in docker20 docker29-overlay2 docker29 podman podman-oci skopeo skopeo-oci crane crane-legacy ctr ours-auto ours-docker ours-oci; do
		like=$(tar -tf $f.tar | sed -E 's/[0-9a-f]{64}/HEX/g' | grep -E 'layer.tar$|^HEX.tar(.gz)?$|^blobs/sha256/HEX$' | sort -u | paste -sd' ')
		links=$(tar -tvf $f.tar | grep -c '^[lh]' || true)
		ref=$(tar -xOf $f.tar index.json 2>/dev/null | grep -o '"org.opencontainers.image.ref.name":"[^"]*"' | cut -d'"' -f4 | sed "s|$name|NAME|" || true)
		echo "| $f | $(compression $f.tar) | \`${like// /\`, \`}\` | ${links/#0/–} | $(yes $f.tar manifest.json) | $(yes $f.tar repositories) | $(yes $f.tar index.json) | ${ref:-–} |"
	done
}

# verdict FOUND says whether what was found has the digest of the manifest.
verdict() { case $1 in '') echo no ;; *"$digest"*) echo digest ;; *) echo yes ;; esac; }

read_docker() { # ENGINE FILE
	forget
	local out ref
	out=$("$1" load -q -i "$2" 2>&1) || { echo no; return; }
	case $out in *"Loaded image"*) ;; *) echo no; return ;; esac
	ref=${out##*: }
	printf %s "$(verdict "$("$1" image inspect "$ref")")"
	case $ref in "$name":*) echo ;; sha256*) echo ', no name' ;; *) echo ", as ${ref/$name/NAME}" ;; esac
	"$1" rmi -f "$ref" >/dev/null 2>&1
}
read_docker20() { read_docker docker20 "$1"; }
read_docker29() { read_docker docker29 "$1"; }
read_overlay2() { read_docker overlay2 "$1"; }
read_podman() { read_docker podman "$1"; }
read_skopeo() { # TRANSPORT FILE
	rm -rf copy
	skopeo copy -q "$1:$2" dir:copy >/dev/null 2>&1 || { echo no; return; }
	verdict "sha256:$(sha256sum <copy/manifest.json)"
}
read_skopeo_docker() { read_skopeo docker-archive "$1"; }
read_skopeo_oci() { read_skopeo oci-archive "$1"; }
read_crane() { crane push "$1" "$name:crane" >/dev/null 2>&1 || { echo no; return; }; verdict "$(crane digest "$name:crane")"; }
read_ctr() {
	forget
	ctr images import "$1" >/dev/null 2>&1 || { echo no; return; }
	local out ref
	out=$(ctr images ls 2>/dev/null | tail -n +2)
	ref=${out%% *}
	printf %s "$(verdict "$out")"
	case $ref in "$name":*) echo ;; *) echo ", as ${ref/$name/NAME}" ;; esac
}
read_umoci() {
	rm -rf layout bundle && mkdir layout && tar -xf "$1" -C layout
	local tag
	tag=$(umoci ls --layout layout 2>/dev/null | head -1)
	[ -n "$tag" ] && umoci unpack --image "layout:$tag" bundle >/dev/null 2>&1 && [ -d bundle/rootfs ] && echo yes || echo no
}
read_ours() { verdict "$(./occystrap info -O json "tar://$1" 2>/dev/null)"; }

matrix() {
	echo '| archive | docker 20.10 | 29 overlay2 | 29 containerd | podman load | skopeo docker-archive | skopeo oci-archive | crane push | ctr import | umoci | occystrap |'
	echo '|---|---|---|---|---|---|---|---|---|---|---|'
	local f r
	for f in ours-auto ours-docker ours-oci ours-auto-zstd ours-oci-zstd docker20 docker29-overlay2 docker29 podman podman-oci skopeo skopeo-oci crane crane-legacy ctr; do
		case $f in *zstd) digest=$(crane digest "$name:zstd") ;; *) digest=$(crane digest "$name:1") ;; esac
		printf '| %s |' "$f"
		for r in docker20 overlay2 docker29 podman skopeo_docker skopeo_oci crane ctr umoci ours; do printf ' %s |' "$("read_$r" "$f.tar")"; done
		echo
	done
}

write || { cat write.log >&2; exit 1; }
describe
echo
matrix
