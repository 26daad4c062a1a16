# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh: make .venv and install into it what has changed.
# Sets ROOT and PYTHON. Needs the network only when something is not installed yet.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"

fail() {
  echo "$*" >&2
  exit 1
}

# The state that .venv was made for: everything that decides what is installed, and where.
fingerprint() {
  cd "$ROOT" || exit
  { echo "$ROOT $1 ${GROK_BUILD_EXT:-} ${GROK_BUILD_CUDA:-}"
    command -v "${CXX:-c++}" nvcc || true
    cat requirements.txt pyproject.toml setup.py build_cpu.py build_cuda.py
    find csrc -type f -print0 | LC_ALL=C sort -z | xargs -0 cat; } | cksum
}

make_venv() {
  command -v python3 >/dev/null || fail "python3 is missing: install Python 3.10 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "python3 is $(python3 -V), expected Python 3.10 or newer"
  python3 -c 'import venv, ensurepip' 2>/dev/null ||
    fail "python3 cannot make virtual environments: install python3-venv (Debian, Ubuntu: sudo apt install python3-venv)"
  "$PYTHON" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$ROOT/.venv"
}

# ensure_environment EXTRAS: EXTRAS is "" or "[test]"; what test.sh installed serves quickstart.sh too
ensure_environment() {
  local extras stamp="$ROOT/.venv/installed$1"
  for extras in "$1" "[test]"; do
    if [ -x "$PYTHON" ] && [ "$(cat "$ROOT/.venv/installed$extras" 2>/dev/null)" = "$(fingerprint "$extras")" ]; then
      return
    fi
  done
  echo "installing into .venv (once; torch is large) ..."
  make_venv
  rm -f "$stamp"
  local pip=("$PYTHON" -m pip install --quiet --disable-pip-version-check)
  if ! { "${pip[@]}" -r "$ROOT/requirements.txt" && "${pip[@]}" -e "$ROOT$1"; }; then
    fail "pip could not install the requirements (its reason is above); check the network and run this again"
  fi
  fingerprint "$1" > "$stamp"
}
