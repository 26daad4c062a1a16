#!/usr/bin/env bash
# Train one run per weight decay and seed, then analyse and plot them: see --help.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python="$(command -v python3 || command -v python)" || {
    echo "error: no Python found, expected .venv/bin/python or python3; run ./scripts/quickstart.sh first" >&2
    exit 2
}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export SWEEP_PROGRAM="$0"
exec "$python" -m grokking sweep "$@"
