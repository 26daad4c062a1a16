#!/usr/bin/env bash
# Cross-compile the CPU kernel for arm64 and compare it with the reference loop under emulation.
# Needs g++-aarch64-linux-gnu and qemu-user (Debian's names).
# Usage: tools/check_arm64.sh   (no arguments)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
  ?*)
    echo "unknown argument '$1', expected none" >&2
    exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

read -ra standard <<< "$(python3 "$root/build_cpu.py")"
compile() { # OUTPUT SOURCE OPTIMISATION
  aarch64-linux-gnu-g++ "${standard[@]}" "$3" -Wall -Wextra -Werror -I"$root/csrc" -c "$2" -o "$build/$1.o"
}

for unit in cpu cpu_reference cpu_tile; do compile "$unit" "$root/csrc/$unit.cpp" -O3; done
compile main "$root/tests/native/sanitized.cpp" -O1 # at -O3 GCC 12 for arm64 crashes on this one
aarch64-linux-gnu-g++ -static -pthread "$build"/*.o -o "$build/parity"
qemu-aarch64 "$build/parity"
