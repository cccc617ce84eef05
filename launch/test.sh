#!/usr/bin/env bash
# Makes the environment if need be and runs the tests: ./launch/test.sh [pytest's arguments], e.g. ./launch/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
make_environment
# Compiled programs are kept between tests and runs; a test run that finds them is twice as fast.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5
# Files of tests go to as many processes as there are cores, at most four: each takes up to 2 GB.
exec .venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile "$@"
