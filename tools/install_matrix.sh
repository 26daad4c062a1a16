#!/usr/bin/env bash
# Try the installation on several Pythons, with an old and the newest pip, with and without a
# compiler, each in a fresh environment and under pip's build isolation. Only the extension and
# numpy: no torch. Writes a table.
# Usage: tools/install_matrix.sh OUT.md PYTHON...     e.g. docs/results/install_matrix.md python3.12
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac
if [ $# -lt 2 ]; then
  echo "usage: install_matrix.sh OUT.md PYTHON...   (see --help)" >&2
  exit 2
fi

out=$(realpath -m "$1")
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the installed package must do: say which kernel it uses, and guess among 7 equal logits.
cat >"$work/check.py" <<'PYTHON'
import math
from grokking.kernels.compiled import implementations, load_extension
from grokking.model.tables import table_shapes
module, reason = load_extension()
if module:
    import numpy as np
    tables = [np.zeros(shape, np.float32) for shape in table_shapes(5, 2, 6, 7).values()]
    for name in implementations():
        loss, correct = module.evaluate(tables, np.arange(25), np.zeros(25, np.int64), name, 2)
        assert math.isclose(loss, 25 * math.log(7), rel_tol=1e-6) and correct == 25, (name, loss, correct)
best = next((name for name, one in implementations().items() if one.automatic), None)
print(f"{best}, 2 threads" if best else f"plain PyTorch, because {reason}")
PYTHON

attempt() { # PYTHON PIP COMPILER -> what a run would print at its start, or the failure
  local folder=$work/try
  rm -rf "$folder" && mkdir "$folder"
  git -C "$root" archive HEAD | tar -x -C "$folder"
  "$1" -m venv "$folder/venv"
  local pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check -q)
  "${pip[@]}" install --upgrade "$2" numpy || { echo "pip or numpy failed"; return; }
  local compiler=()
  [ "$3" = yes ] || compiler=(CC=no-such-compiler CXX=no-such-compiler)
  env GROK_BUILD_CUDA=0 "${compiler[@]}" "${pip[@]}" install --no-deps -e "$folder" || { echo "install failed"; return; }
  (cd "$folder" && "$folder/venv/bin/python" "$work/check.py")
}

{
  echo "# Install matrix"
  echo
  echo "\`pip install -e .\` under build isolation, $(date -u +%F), $(uname -sm), $(g++ --version | head -1)."
  echo
  echo "| Python | pip | compiler | seconds | kernel of a run |"
  echo "| --- | --- | --- | --- | --- |"
} >"$out"
for python in "$@"; do
  for pip in "pip<24" pip; do
    for compiler in yes no; do
      began=$SECONDS
      found=$(attempt "$python" "$pip" "$compiler" 2>"$work/errors" | tail -1) || found="failed: $(tail -1 "$work/errors")"
      version=$("$python" -c 'import platform; print(platform.python_version())')
      used=$("$work/try/venv/bin/python" -m pip --version | cut -d' ' -f2)
      row="| $version | $used | $compiler | $((SECONDS - began)) | ${found//$work/} |"
      echo "$row" | tee -a "$out"
    done
  done
done
cat >>"$out" <<'NOTE'

Seconds with whatever else the machine does, the environment, pip and numpy included; no torch. pip 23.0
itself does not run on Python 3.12 and later, so the old pip is the last of the 23 series.
NOTE
