#!/usr/bin/env bash
# Creates the environment if necessary and runs the tests, except those marked heavy.
#   ./launch/test.sh [arguments of pytest], e.g.
#   ./launch/test.sh -m "not slow"        the quick lane
#   ./launch/test.sh -m ""                everything
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
make_environment
# Compiled programs are kept between processes and runs: with them, the tests take half the time.
# Small ones too, of which there are thousands: reading one takes a third of compiling it.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
# Test files are spread over processes, at most four; how many and in which order, tests/conftest.py
# says. Of several -m, pytest takes the last.
exec .venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder -m "not heavy" "$@"
