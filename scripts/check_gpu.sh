#!/usr/bin/env bash
# Everything that only a GPU can show about the CUDA kernel, in one report to attach to an issue:
# parity with plain PyTorch, compute-sanitizer's four tools, timings. Under eight minutes.
# Usage: scripts/check_gpu.sh [OUT_DIR]     (default: gpu_report)
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac

OUT="${1:-gpu_report}"
code=0
"$(dirname "${BASH_SOURCE[0]}")/../tools/gpu/one_call.sh" "$OUT" || code=$?
[ ! -f "$OUT/report.md" ] || echo "the report is in $OUT: please attach report.md and gpu.json"
exit "$code"
