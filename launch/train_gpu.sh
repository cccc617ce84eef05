#!/usr/bin/env bash
# Trains on one machine with GPUs for as long as it is lent, and goes on where it stopped.
#   ./launch/train_gpu.sh --config=configs/w300_best.py --workdir=runs/best [--minutes=10] \
#     [--bring=FOLDER] [--bench[=PARTS]] [--python=COMMAND] [--config.KEY=VALUE ...]
# --minutes  so long after its start the script stops the training, which saves itself; add one for
#            that. Making the environment counts
# --bring    copies what is worth keeping there: config.json, metrics.jsonl, learning_curve.png,
#            eval/, training.log and the newest checkpoint; it can be the next slice's workdir
# --bench    measures the machine first (bench_gpu.sh), within the same minutes: all, or PARTS, e.g.
#            forward,step
# --python   an interpreter that has all that is needed, JAX for this GPU too; nothing is installed
# Files are named as seen from the repository's folder. FAL_JAX_ACCELERATOR=cpu tries it out. Exit
# codes: 0 finished, 75 stopped and saved (the same command goes on), 2 the user's mistake,
# 3 diverged.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
source launch/accelerator.sh
source launch/slice.sh
train_slice gpu "$@"
