#!/usr/bin/env bash
# Everything that reads the code without running it: ruff, mypy, clang-tidy, shellcheck, node, beautifiers, pip check.
# Installs its tools into .venv; the rules and their exceptions are in pyproject.toml and .clang-tidy.
# Usage: tools/lint.sh   (no arguments)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
  ?*)
    echo "unknown argument '$1', expected none" >&2
    exit 2 ;;
esac

# shellcheck source=scripts/_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/_environment.sh"

ensure_environment "[test]"
cd "$ROOT"
"$PYTHON" -m pip install --quiet --disable-pip-version-check -r tools/requirements-lint.txt
bin="$ROOT/.venv/bin"

"$bin/ruff" check --quiet .
"$bin/ruff" format --check --quiet .
"$bin/mypy" --no-error-summary
"$PYTHON" -m pip check >/dev/null

mapfile -t headers < <("$PYTHON" -c '
import pybind11, sysconfig
print("-isystem", sysconfig.get_path("include"), "-isystem", pybind11.get_include(), sep="\n")')
tidy() { "$bin/clang-tidy" --quiet "$@" 2>/dev/null; }
tidy csrc/bindings.cpp csrc/cpu.cpp csrc/cpu_reference.cpp -- -std=c++17 -Icsrc "${headers[@]}"
# The analyzer cannot follow an arena that only counts, from null; the sanitizers run this file instead.
tidy --checks='-clang-analyzer-*' csrc/cpu_tile.cpp -- -std=c++17 -Icsrc

formatted() { "$@" | diff --unified --label "$*" "${!#}" - >&2; } # COMMAND FILE: does the formatter leave it alone?
for file in grokking/pictures/static/*.js; do
  formatted "$bin/js-beautify" --indent-size 2 --end-with-newline --brace-style collapse,preserve-inline "$file"
done
for file in grokking/pictures/static/*.css; do
  formatted "$bin/css-beautify" --indent-size 2 --end-with-newline --disable-newline-between-rules "$file"
done
if command -v node >/dev/null; then
  for file in grokking/pictures/static/*.js; do node --check "$file"; done
else
  echo "node is not installed, the pages' scripts are not parsed" >&2
fi
if command -v shellcheck >/dev/null; then
  shellcheck -x scripts/*.sh tools/*.sh tools/*/*.sh .ci/run
else
  echo "shellcheck is not installed, scripts are not checked" >&2
fi
echo "lint: nothing found"
