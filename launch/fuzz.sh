#!/usr/bin/env bash
# Tries damaged files on everything that reads files from outside; tests/fuzz/README.md has more.
#   ./launch/fuzz.sh --seconds=600                 all parsers, each for the same time
#   ./launch/fuzz.sh --parser=mat5 --cases=100000 --seconds=3600
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
make_environment
PYTHONPATH=.:tests/helpers:tests/fuzz exec .venv/bin/python -W ignore tests/fuzz/fuzz_run.py "$@"
