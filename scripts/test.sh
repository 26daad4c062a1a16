#!/usr/bin/env bash
# Fresh machine -> all tests. Arguments go to pytest, e.g. ./scripts/test.sh tests/test_model.py
set -euo pipefail

# shellcheck source=scripts/_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

ensure_environment "[test]"
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
