#!/usr/bin/env bash
# Train the runs behind docs/results/report_cards.json, then write it:
# train_report_runs.sh OUTPUT_DIR OUT.json     (published: docs/results/report_cards.json)
# EPOCHS, SEEDS and JOBS (runs at a time, one core each) can be set. Run again, it goes on where it was.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
fi
if [[ $# -ne 2 ]]; then
    echo "usage: train_report_runs.sh OUTPUT_DIR OUT.json" >&2
    exit 2
fi
python=$root/.venv/bin/python
[[ -x $python ]] || python=python3
export output=$1 python
cards=$2
export GROK_NUM_EPOCHS=${EPOCHS:-40000} GROK_PROBE_EVERY=50 GROK_CHECKPOINT_EVERY=500
export GROK_THREADS=1 OMP_NUM_THREADS=1 GROK_RESUME=1 PYTHONPATH=$root
read -ra seeds <<<"${SEEDS:-42 123 456 789 1011}"

mkdir -p -- "$output"
# shellcheck disable=SC2016  # expanded by the inner shell
printf '%s\n' "${seeds[@]}" | xargs -P "${JOBS:-1}" -I{} bash -c '
    GROK_SEED=$1 GROK_ARTIFACTS_DIR=$output/seed_$1 "$python" -m grokking >"$output/seed_$1.log" 2>&1 ||
        { echo "seed $1 failed, see $output/seed_$1.log" >&2; exit 1; }' train {}
"$python" "$root/scripts/report_cards.py" "$cards" "${seeds[@]/#/"$output/seed_"}"
