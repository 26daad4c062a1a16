#!/usr/bin/env bash
# Fresh machine -> all tests. Arguments go to pytest, e.g. ./scripts/test.sh tests/test_model.py
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2s/^# //p' "${BASH_SOURCE[0]}" && exit ;; esac

# shellcheck source=scripts/_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

ensure_environment "[test]"
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
