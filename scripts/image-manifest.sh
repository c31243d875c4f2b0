#!/bin/sh
# Makes one name of the images of several platforms, a manifest list, with buildah. Each image is built on a machine of its
# platform, or with `scripts/image.sh name:tag --platform linux/arm64` where QEMU can run it.
# Usage: scripts/image-manifest.sh name:tag IMAGE...
# It prints the platforms. `buildah manifest push --all name:tag docker://name:tag` pushes the list with its images.
set -eu

if [ $# -lt 2 ]; then
  echo 'usage: scripts/image-manifest.sh name:tag IMAGE...' >&2
  exit 64
fi
name=$1
shift

buildah manifest create "$name" >/dev/null
for image; do
  buildah manifest add "$name" "$image" >/dev/null
done
buildah manifest inspect "$name" | sed -n 's/^ *"architecture": "\(.*\)",*$/\1/p'
