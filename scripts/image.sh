#!/bin/sh
# Builds the image with what is there: docker, podman or buildah (or BUILDER=…), from a clean checkout. The labels say
# what it was made of, and the time in it is the commit's, so that the same commit gives the same layers again as far as
# the builder can (docs/deploy.md says which can).
# Usage: scripts/image.sh [name:tag [more options of the builder]]
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision="$revision-modified"
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
iso=+%Y-%m-%dT%H:%M:%SZ
created=$(date -u -d "@$epoch" "$iso" 2>/dev/null || date -u -r "$epoch" "$iso") # GNU's, BSD's
name=${1:-ev-availability-proxy:$version}
[ $# -eq 0 ] || shift

for builder in ${BUILDER:-docker podman buildah}; do
  command -v "$builder" >/dev/null && break
done
# podman and buildah leave HEALTHCHECK out of OCI images, and write the time given into every file. Debian's releases of
# them take no SOURCE_DATE_EPOCH but have --timestamp. Docker knows neither before BuildKit 0.11.
case $builder in
  docker) set -- build --build-arg "SOURCE_DATE_EPOCH=$epoch" "$@" ;;
  *) set -- build --format docker --timestamp "$epoch" "$@" ;;
esac
exec "$builder" "$@" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$revision" \
  --label "org.opencontainers.image.created=$created" \
  --tag "$name" .
