#!/usr/bin/env bash
# The same as train_gpu.sh, which says what the options mean, on the TPU VM that one is logged in
# on. One host: a slice of several waits for the others and is refused.
#   ./launch/train_tpu.sh --config=configs/w300_best.py --workdir=runs/best [--minutes=10] \
#     [--bring=FOLDER] [--bench[=PARTS]] [--python=COMMAND] [--config.KEY=VALUE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
source launch/accelerator.sh
source launch/slice.sh
train_slice tpu "$@"
