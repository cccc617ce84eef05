#!/usr/bin/env bash
# Kills a small training at random moments until it is through, and compares it with one that nobody
# touched: state, log, evaluation and predictions must be equal. Two minutes for ten kills.
#   ./launch/soak.sh [--kills=30] [--seed=0] [--processes=1] [--workdir=DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
make_environment
exec env PYTHONPATH=.:tests/helpers .venv/bin/python tests/helpers/soak.py "$@"
