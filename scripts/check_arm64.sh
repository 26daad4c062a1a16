#!/usr/bin/env bash
# Cross-compile the CPU kernel for arm64 and compare it with the reference loop under emulation.
# Needs g++-aarch64-linux-gnu and qemu-user (Debian's names).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

compile() { # OUTPUT SOURCE OPTIMISATION
  aarch64-linux-gnu-g++ -std=c++17 "$3" -Wall -Wextra -Werror -Wno-psabi -ffp-contract=fast \
    -I"$root/csrc" -c "$2" -o "$build/$1.o"
}

for unit in cpu cpu_reference cpu_tile; do compile "$unit" "$root/csrc/$unit.cpp" -O3; done
compile main "$root/tests/native/sanitized.cpp" -O1 # at -O3 GCC 12 for arm64 crashes on this one
aarch64-linux-gnu-g++ -static -pthread "$build"/*.o -o "$build/parity"
qemu-aarch64 "$build/parity"
