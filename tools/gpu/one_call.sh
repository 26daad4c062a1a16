#!/usr/bin/env bash
# Build, prove and measure the CUDA kernel on this machine's GPU, in under eight minutes; without a
# GPU, say what is missing. Leaves gpu.json, report.md and log.txt in OUT_DIR.
# Usage: tools/gpu/one_call.sh OUT_DIR [--only PART,...] [--limit SECONDS]
# Python: $PYTHON, else .venv/bin/python of this tree, else python3.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
if [ -z "${PYTHON:-}" ]; then
  PYTHON="$ROOT/.venv/bin/python"
  [ -x "$PYTHON" ] || PYTHON=python3
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "error: $PYTHON is no Python of version 3.10 or newer: set PYTHON to one that has torch for CUDA" >&2
  exit 2
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" "$ROOT/tools/gpu/one_call.py" "$@"  # not -m, which would import from the caller's folder
