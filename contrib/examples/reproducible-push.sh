#!/usr/bin/env bash
# Push what a daemon has just built so that building it again gives the same
# digest: times are normalised, caches that differ from build to build left out,
# layers compressed anew, since how they were compressed depends on the old times.
#   reproducible-push.sh app:1 registry.example/team/app:1
# The digest is printed; it is what a deployment should name.
set -euo pipefail
from=${1:?local image} to=${2:?image in a registry}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
occystrap process "docker://$from" "registry://$to" \
  -f "normalize-timestamps:ts=${SOURCE_DATE_EPOCH:-0},config=true,recompress=canonical" \
  -f 'exclude:pattern=**/__pycache__/**,**/*.pyc,var/cache/**,var/log/**' \
  --metadata-file "$report"
sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' "$report"
