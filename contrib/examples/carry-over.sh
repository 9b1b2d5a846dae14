#!/usr/bin/env bash
# Carry an image to a machine without a network: one archive, every platform,
# nothing changed. The digests are the same on the other side.
#   carry-over.sh registry.example/team/app:1 app.tar
#   occystrap process tar://app.tar registry://registry.inside/team/app:1 --all-platforms
set -euo pipefail
image=${1:?image} archive=${2:?archive}
occystrap process "registry://$image" "tar://$archive" --all-platforms --verify
