#!/bin/sh
# Have containerd and Docker pull through the proxy: writes a hosts.toml for each
# registry, keeps what was there, and gives it back with --remove. It may be run again.
#
#   install-hosts.sh [options] HOST...      as docker.io ghcr.io registry.example:5000
#
#   --proxy URL     where the proxy is; default http://127.0.0.1:5050
#   --ca FILE       authority of the proxy's certificate, for https
#   --secret FILE   has the secret of the proxy's installation, or a token; sent with each request
#   --dir DIR       directory that the daemon reads, repeatable; default /etc/containerd/certs.d
#                   and /etc/docker/certs.d, of those that are installed
#   --only          never go to the registry itself when the proxy has no answer
#   --remove        undo it, for these hosts
#   --root DIR      before all paths that are written and listed, for an image of a machine
#
# HOST may be http://HOST for a registry that speaks plain HTTP. _default is all
# registries that have no directory of their own.
#
# Daemons read these files with each pull: nothing has to be restarted. They are
# for pulling only: without "capabilities" a mirror would get what is pushed, too, and with a
# capability that a release of containerd does not know it ignores the file.
set -eu

mark='# Written by install-hosts.sh of occystrap, which takes it away with --remove.'
saved=hosts.toml.before-occystrap
proxy=http://127.0.0.1:5050 ca= secret= dirs= only= remove= root=

die() {
	printf 'install-hosts.sh: %s\n' "$1" >&2
	exit 2
}

value() { [ $# -ge 2 ] && [ -n "$2" ] || die "$1 takes a value"; }

while [ $# -gt 0 ]; do
	case $1 in
	--proxy) value "$@"; proxy=${2%/} && shift ;;
	--ca) value "$@"; ca=$2 && shift ;;
	--secret) value "$@"; secret=$2 && shift ;;
	--dir) value "$@"; dirs="$dirs $2" && shift ;;
	--root) value "$@"; root=${2%/} && shift ;;
	--only) only=yes ;;
	--remove) remove=yes ;;
	-h | --help) sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' "$0" && exit ;;
	--) shift && break ;;
	-*) die "there is no option $1; --help tells those that there are" ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || die "which registries? Name them, as docker.io ghcr.io"
case $proxy in
http://* | https://*) ;;
*) die "--proxy is $proxy; it takes a URL like http://127.0.0.1:5050" ;;
esac
case $proxy$ca in *[!A-Za-z0-9:/.@_%\[\]-]*) die "--proxy or --ca has a character that has no place in it" ;; esac

key=
if [ -n "$secret" ] && [ -z "$remove" ]; then
	key=$(cat "$secret") || die "the secret cannot be read; root can"
	case $key in
	'' | *[!A-Za-z0-9._~+/=-]*) die "$secret is not one line of letters, digits and ._~+/=-" ;;
	esac
fi

if [ -z "$dirs" ]; then
	for d in /etc/containerd /etc/docker; do
		[ ! -d "$root$d" ] || dirs="$dirs $d/certs.d"
	done
	[ -n "$dirs" ] || die "neither containerd nor Docker is set up here; name the directory with --dir"
fi

# certificates prints what the directory had for the registry itself: with a hosts.toml it
# does not count any more by being there.
certificates() {
	list=
	for f in "$root$1"/*.crt; do
		[ ! -f "$f" ] || list="$list, \"${f#"$root"}\""
	done
	[ -z "$list" ] || printf 'ca = [%s]\n' "${list#, }"
	list=
	for f in "$root$1"/*.cert; do
		[ ! -f "$f" ] || [ ! -f "${f%.cert}.key" ] || list="$list, [\"${f#"$root"}\", \"$(printf %s "${f#"$root"}" | sed 's/cert$/key/')\"]"
	done
	[ -z "$list" ] || printf 'client = [%s]\n' "${list#, }"
}

# content prints a hosts.toml: for the registry $1 with the server $2 in the directory $3.
content() {
	printf '%s\n' "$mark"
	if [ -n "$only" ]; then
		printf 'server = "%s"\n' "$proxy"
	elif [ "$1" != _default ]; then
		printf 'server = "%s"\n' "$2"
		certificates "$3"
	fi
	printf '\n[host."%s"]\ncapabilities = ["pull", "resolve"]\ndial_timeout = "200ms"\n' "$proxy"
	[ -z "$ca" ] || printf 'ca = "%s"\n' "$ca"
	[ -z "$key" ] || printf '\n[host."%s".header]\nOccystrap-Secret = "%s"\n' "$proxy" "$key"
}

ours() { [ -f "$1" ] && [ "$(head -n 1 "$1")" = "$mark" ]; }

install_one() { # HOST SERVER DIRECTORY
	at=$root$3
	mkdir -p "$at"
	if [ -e "$at/hosts.toml" ] && ! ours "$at/hosts.toml"; then
		mv "$at/hosts.toml" "$at/$saved"
		echo "kept $3/hosts.toml as $saved"
	fi
	(
		[ -z "$key" ] || umask 077 # others need not know the secret
		content "$@" >"$at/.hosts.toml.new"
	)
	mv "$at/.hosts.toml.new" "$at/hosts.toml"
	echo "$1: $3/hosts.toml"
}

remove_one() { # HOST SERVER DIRECTORY
	at=$root$3
	ours "$at/hosts.toml" || return 0
	if [ -e "$at/$saved" ]; then
		mv "$at/$saved" "$at/hosts.toml"
		echo "$1: $3/hosts.toml is as it was"
	else
		rm "$at/hosts.toml"
		rmdir "$at" 2>/dev/null || : # it has certificates
		echo "$1: $3/hosts.toml is gone"
	fi
}

# registry reads a HOST: its name, its server, and the name of its directory.
registry() {
	host=${1#http://}
	host=${host#https://}
	case $host in
	_default) ;;
	'' | .* | -* | *[!a-z0-9.:-]*) die "$1 is no registry; it takes names like ghcr.io or registry.example:5000" ;;
	index.docker.io | registry-1.docker.io) host=docker.io ;;
	esac
	case $1 in
	http://*) server=http://$host ;;
	*) server=https://$host ;;
	esac
	[ "$host" != docker.io ] || server=https://registry-1.docker.io
	# containerd knows both ways to write a port; a path must not have a colon everywhere.
	folder=$(printf %s "$host" | sed 's/:\(.*\)$/_\1_/')
}

for name; do registry "$name"; done # all of them, before something is written
for name; do
	registry "$name"
	for d in $dirs; do
		if [ -n "$remove" ]; then
			remove_one "$host" "$server" "$d/$folder"
		else
			install_one "$host" "$server" "$d/$folder"
		fi
	done
done

# containerd's transfer service takes a list of directories for the name of one.
config=$root/etc/containerd/config.toml
case " $dirs " in *" /etc/containerd/certs.d "*)
	if [ -z "$remove" ] && ! grep -qs '^[^#]*config_path *= *["'\'']/etc/containerd/certs.d["'\'']' "$config"; then
		echo 'Kubernetes: set config_path = "/etc/containerd/certs.d", that one path only, in the table'
		echo "[plugins.'io.containerd.cri.v1.images'.registry] of /etc/containerd/config.toml, and restart containerd once"
	fi
	;;
esac
