#!/usr/bin/env bash
# Everything that only a GPU can show about the CUDA kernel, in one report to attach to an issue:
# parity with plain PyTorch, compute-sanitizer's four tools, timings.
# Usage: scripts/check_gpu.sh [REPORT]     (default: gpu_report.txt)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
REPORT="$(realpath -m "${1:-gpu_report.txt}")"
PYTHON="$ROOT/.venv/bin/python"
[ -x "$PYTHON" ] || PYTHON=python3
PATH="$PATH:/usr/local/cuda/bin"
cd "$ROOT"
failed=0

section() { # TITLE COMMAND...
  local title=$1
  shift
  printf '\n== %s\n' "$title"
  if "$@" 2>&1; then
    echo "-- passed: $title"
  else
    echo "-- FAILED: $title"
    failed=1
  fi
}

# Allocations of their own, so that the end of a tensor is the end of memory; our kernels only.
# shellcheck disable=SC2317  # called through section
sanitize() { # TOOL
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$1" --kernel-name kns=grid4cuda \
    --error-exitcode 9 "$PYTHON" scripts/check_gpu.py use
}

check() {
  date -u
  git log -1 --format='commit %H' 2>/dev/null || true
  "$PYTHON" -c 'import sys, torch; print("python", sys.version.split()[0], "torch", torch.__version__)'
  nvidia-smi 2>&1 || echo "nvidia-smi: no driver"
  section "first use" "$PYTHON" scripts/check_gpu.py use
  if [ "$failed" = 1 ]; then
    return
  fi
  section "tests on the GPU" "$PYTHON" -m pytest -q tests/test_cuda_gpu.py
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do section "$tool" sanitize "$tool"; done
  else
    echo "compute-sanitizer is not on PATH: memory and race checks left out"
  fi
  section "timings" "$PYTHON" scripts/check_gpu.py time
}

check > >(tee "$REPORT")
wait
echo "the report is in $REPORT"
exit "$failed"
