#!/usr/bin/env bash
# Train the runs behind docs/results/report_cards.json, then write it:
# train_report_runs.sh OUTPUT_DIR OUT.json     (published: docs/results/report_cards.json)
# Seeds of the reference experiment, and beside them an untrained network and a memoriser, of which nothing
# may pass, weight decay 2, and the quickstart's run, which stops early.
# EPOCHS, SEEDS and JOBS (runs at a time, one core each) can be set. Run again, it goes on where it was.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"
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
export GROK_THREADS=1 OMP_NUM_THREADS=1 GROK_RESUME=1 GROK_SKIP_VALIDATION=1 PYTHONPATH=$root

runs=() # a folder's name and what sets its run apart
for seed in ${SEEDS:-42 123 456 789 1011}; do runs+=("seed_$seed GROK_SEED=$seed"); done
runs+=("untrained GROK_NUM_EPOCHS=1" "memoriser GROK_NUM_EPOCHS=400 GROK_WEIGHT_DECAY=0"
    "weight_decay_2 GROK_WEIGHT_DECAY=2"
    "quickstart GROK_NUM_EPOCHS=10000 GROK_STOP_AFTER_GROK=1000 GROK_PROBE_EVERY=1")

mkdir -p -- "$output"
# shellcheck disable=SC2016  # expanded by the inner shell
printf '%s\n' "${runs[@]}" | xargs -P "${JOBS:-1}" -L 1 bash -c '
    name=$1 && shift
    env "$@" GROK_ARTIFACTS_DIR="$output/$name" "$python" -m grokking >"$output/$name.log" 2>&1 ||
        { echo "$name failed, see $output/$name.log" >&2; exit 1; }' train
names=("${runs[@]%% *}")
"$python" -m tools.docs.cards "$cards" "${names[@]/#/"$output/"}"
