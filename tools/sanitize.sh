#!/usr/bin/env bash
# Build the CPU kernel with a sanitizer, or two that go together, and run it on awkward shapes.
# Usage: tools/sanitize.sh address|undefined|address,undefined|thread   (CXX chooses the compiler)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
  address | undefined | address,undefined | thread) sanitizer=$1 ;;
  *)
    echo "the sanitizer is '${1:-}', expected address, undefined, address,undefined or thread" >&2
    exit 2 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

read -ra standard <<< "$(python3 "$root/build_cpu.py")"
compile() { # OUTPUT SOURCE FLAGS...
  local output=$1 source=$2
  shift 2
  "${CXX:-g++}" "${standard[@]}" -O1 -g1 -Wall -Wextra -Werror \
    "-fsanitize=$sanitizer" -fno-sanitize-recover=all -I"$root/csrc" \
    "$@" -c "$source" -o "$build/$output.o"
}

if [ "$(uname -m)" = x86_64 ]; then # the targets of setup.py
  for target in AVX512 AVX2; do
    read -ra flags <<< "$(python3 "$root/build_cpu.py" "$target")"
    compile "$target" "$root/csrc/cpu_tile.cpp" "${flags[@]}" &
  done
fi
compile baseline "$root/csrc/cpu_tile.cpp" &
compile cpu "$root/csrc/cpu.cpp" &
compile reference "$root/csrc/cpu_reference.cpp" &
compile main "$root/tests/native/sanitized.cpp" &
for job in $(jobs -p); do wait "$job"; done

"${CXX:-g++}" "-fsanitize=$sanitizer" -pthread "$build"/*.o -o "$build/sanitized"
"$build/sanitized"
