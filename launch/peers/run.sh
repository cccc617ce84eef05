#!/usr/bin/env bash
# Measures other systems and ours on our hold-out of 300W: accuracy, time, table and figure.
#   ./launch/peers/run.sh [DATA_DIR [WORKDIR]]    default: data, where w300 is prepared; runs/peers
# Paths are those of the repository's root. What cannot be installed is named and left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-data} workdir=${2:-runs/peers} env=.cache/peers
source launch/environment.sh
make_environment
source launch/peers/install.sh
install_peers "$env" .venv/bin/python

flags=(--data_dir="$data" --workdir="$workdir" --env="$env" --onnx="$workdir/onnx")
.venv/bin/python -m fal_jax.main --mode=export --weights=w300-68 --formats=onnx --out="$workdir/onnx"
.venv/bin/python -m launch.peers.measure "${flags[@]}"
.venv/bin/python -m launch.peers.times "${flags[@]}"
.venv/bin/python -m launch.peers.report
