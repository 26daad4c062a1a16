#!/usr/bin/env bash
# Train the runs behind docs/results/tasks.json, three seeds of each task, then write it:
# train_tasks.sh SWEEP_DIR OUTPUT_DIR OUT.json     (published: docs/results/tasks.json)
# Addition's are the runs at weight decay 1.0 of the default sweep. Sizes and shares that are not the paper's let
# a task grok in minutes. JOBS (runs at a time, one core each) can be set. Run again, it goes on where it was.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
fi
if [[ $# -ne 3 ]]; then
    echo "usage: train_tasks.sh SWEEP_DIR OUTPUT_DIR OUT.json" >&2
    exit 2
fi
python=$root/.venv/bin/python
[[ -x $python ]] || python=python3
export sweep=$1 output=$2 python
export GROK_SKIP_VALIDATION=1 GROK_RESUME=1 GROK_THREADS=1 GROK_PROBE_EVERY=10 GROK_STOP_AFTER_GROK=3000

train() { # NAME_SEED VARIABLE=VALUE ...
    env "${@:2}" GROK_SEED="${1##*_}" GROK_ARTIFACTS_DIR="$output/$1" "$python" -m grokking
}
export -f train

for seed in 1 2 3; do
    echo "multiply_$seed GROK_TASK=multiply GROK_NUM_EPOCHS=15000"
    echo "divide_$seed GROK_TASK=divide GROK_NUM_EPOCHS=15000"
    echo "subtract_$seed GROK_TASK=subtract GROK_WEIGHT_DECAY=2 GROK_NUM_EPOCHS=15000"
    [[ $seed == 1 ]] && echo "subtractslow_$seed GROK_TASK=subtract GROK_NUM_EPOCHS=15000"
    echo "s5_$seed GROK_TASK=s5 GROK_TRAIN_FRACTION=0.8"
    echo "squares_$seed GROK_TASK=squares GROK_MODULUS=67"
    echo "quadratic_$seed GROK_TASK=quadratic GROK_MODULUS=67 GROK_TRAIN_FRACTION=0.6"
    echo "random_$seed GROK_TASK=random GROK_MODULUS=67 GROK_TRAIN_FRACTION=0.5"
done | xargs -P "${JOBS:-1}" -L 1 bash -c 'train "$@"' train

cd -- "$root"
"$python" -m tools.docs.task_runs "$sweep"/wd1.0_seed* "$output"/{subtract,subtractslow,multiply,divide,s5,squares,quadratic,random}_[0-9] >"$3"
