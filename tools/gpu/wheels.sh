#!/usr/bin/env bash
# Fill tools/gpu/wheels (which git ignores) with what one_call.sh may need on a machine that has no
# network: take the folder there with the tree. Needs pip and the network.
# Usage: tools/gpu/wheels.sh [PYTHON_VERSION]     of that machine (default: 3.12)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac

version="${1:-3.12}"
if ! [[ $version =~ ^3\.[0-9]+$ ]] || [ $# -gt 1 ]; then
  echo "error: unknown argument '${*: -1}', expected a version of Python such as 3.12" >&2
  exit 2
fi
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PYTHON="$HERE/../../.venv/bin/python"
[ -x "$PYTHON" ] || PYTHON=python3
MOST=40 # megabytes

fresh="$(mktemp -d "$HERE/.wheels.XXXXXX")"
trap 'rm -rf "$fresh"' EXIT
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version "$version" --platform any --dest "$fresh" -r "$HERE/wheels.txt"
size="$(du -sm "$fresh" | cut -f1)"
if [ "$size" -gt "$MOST" ]; then
  echo "error: the wheels of wheels.txt take $size MB, expected at most $MOST: name fewer or smaller ones" >&2
  exit 1
fi
rm -rf "$HERE/wheels"
mv "$fresh" "$HERE/wheels"
echo "$HERE/wheels: $size MB"
