#!/bin/sh
# Builds the image with docker, podman or buildah (the first that is installed, or BUILDER=…), from a clean checkout. The
# labels have the version and the commit; the time is the commit's, so that builds of a commit have the same layers if
# the builder supports it (see docs/deploy.md).
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
# podman and buildah omit HEALTHCHECK from OCI images, and set the timestamp on every file. Debian's releases of them have
# --timestamp instead of SOURCE_DATE_EPOCH. Docker has neither before BuildKit 0.11.
case $builder in
  docker) set -- build --build-arg "SOURCE_DATE_EPOCH=$epoch" "$@" ;;
  *) set -- build --format docker --timestamp "$epoch" "$@" ;;
esac
exec "$builder" "$@" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$revision" \
  --label "org.opencontainers.image.created=$created" \
  --tag "$name" .
