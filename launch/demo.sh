#!/usr/bin/env bash
# Everything once, on faces that nobody has to download: environment, data, training, evaluation,
# images.
#   ./launch/demo.sh [WORKDIR]        WORKDIR defaults to runs/demo
# A finished run in WORKDIR is only evaluated again.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
make_environment
workdir=${1:-runs/demo}
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5

.venv/bin/python -m tfds_builders.prepare synthetic_faces --data_dir=data
.venv/bin/python -m fal_jax.main --config=configs/demo.py --config.data.dir=data \
  --workdir="$workdir"

cat <<TEXT

Images: $workdir/eval/test_first.jpg (predictions), test_worst.jpg (the worst of them),
        test_ced.png (error curve), $workdir/learning_curve.png
Next:
  source .venv/bin/activate
  python -m fal_jax.main --mode=predict --workdir=$workdir --images=photo.jpg
  python -m fal_jax.main --config=configs/demo.py --config.data.dir=data \\
    --workdir=${workdir}_long --config.train.epochs=120 \\
    --config.optimizer.drop_epochs=65,85,105,115
  python -m tfds_builders.prepare w300 --manual_dir=FOLDER_WITH_300W --data_dir=data --allow_partial
TEXT
