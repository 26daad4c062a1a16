#!/bin/bash
# Trains the runs of docs/results/tasks.json, three seeds of each task, and writes it. Those of addition
# are the default sweep's at weight decay 1.0.
#
#     ./tools/docs/train_tasks.sh SWEEP FOLDER docs/results/tasks.json
#
# Interrupted, it goes on where it was. Sizes and shares that are not the paper's make a task grok here.
set -euo pipefail
sweep=${1:?folder of the default sweep} folder=${2:?folder of the runs} results=${3:?file to write}
cd "$(dirname "$0")/../.."
python=.venv/bin/python
export GROK_SKIP_VALIDATION=1 GROK_RESUME=1 GROK_PROBE_EVERY=10

train() { # NAME VARIABLE=VALUE ...
  local name=$1
  shift
  for seed in 1 2 3; do
    env "$@" GROK_SEED=$seed GROK_ARTIFACTS_DIR="$folder/${name}_seed$seed" "$python" -m grokking
  done
}

for task in subtract multiply divide; do
  train "$task" GROK_TASK=$task
done
train s5 GROK_TASK=s5 GROK_TRAIN_FRACTION=0.8
train squares GROK_TASK=squares GROK_MODULUS=67
train quadratic GROK_TASK=quadratic GROK_MODULUS=67 GROK_TRAIN_FRACTION=0.6
train random GROK_TASK=random GROK_MODULUS=67 GROK_TRAIN_FRACTION=0.5
"$python" -m tools.docs.task_runs "$sweep"/wd1.0_seed* "$folder"/*_seed? >"$results"
