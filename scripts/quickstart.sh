#!/usr/bin/env bash
# Fresh machine -> a model that grokked, and its pictures. Run again, it reuses what is there.
# Any GROK_* variable is passed on; see `python -m grokking --help`.
set -euo pipefail

# shellcheck source=scripts/_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

case "${1:-}" in
  "") ;;
  -h | --help)
    echo "usage: quickstart.sh  (no arguments; GROK_* variables configure the run)"
    echo "Makes .venv, installs, trains until the model has grokked, and draws pictures in artifacts/."
    exit 0 ;;
  *)
    echo "unknown argument '$1', expected none; GROK_* variables configure the run" >&2
    exit 2 ;;
esac

ensure_environment ""
cd "$ROOT"

[ "${GROK_OVERWRITE:-0}" = 1 ] || export GROK_RESUME="${GROK_RESUME:-1}"
export GROK_STOP_AFTER_GROK="${GROK_STOP_AFTER_GROK:-1000}"
"$PYTHON" -m grokking

folder="${GROK_ARTIFACTS_DIR:-artifacts}"
[[ "$folder" == /* ]] || folder="$ROOT/$folder"
# The exported neuron that is most nearly a single wave.
surface="$("$PYTHON" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

from grokking.files.surfaces import read_surface


def share(path):
    wave = read_surface(path).wave
    return 0.0 if wave is None else wave.share


paths = sorted(Path(sys.argv[1]).glob("activation_surface_neuron_*.json"))
print(max((path for path in paths if "_epoch_" not in path.name), key=share))
PYTHON
)"
"$PYTHON" scripts/visualize_activation_surface.py "$surface"
echo
if "$PYTHON" -m grokking report --brief "$folder"; then
  story="$folder/report.html    the story of the run, with a film and a gallery of its neurons"
else
  story="$folder/visualizations/index.html    the run: curves and surfaces"
fi

echo
echo "Open in a browser:"
echo "  $story"
echo "  ${surface%.json}_combined.html    one neuron's wave, to turn and zoom"
