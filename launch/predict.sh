#!/usr/bin/env bash
# Creates the environment if necessary, finds the faces on photographs and puts landmarks on them.
#   ./launch/predict.sh [photo.jpg folder ...] [--flag=value ...]   flags: fal_jax/photos/README.md
# Without a photograph it takes one that comes with the environment: matplotlib's grace_hopper.jpg.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
source launch/environment.sh
make_environment
cd "$OLDPWD" # paths are those of whoever calls

# Whatever stands before the first flag is a photograph or a folder.
arguments=()
has_images=
while [ $# -gt 0 ] && [[ $1 != -* ]]; do
  arguments+=("--images=$1")
  has_images=1
  shift
done
for argument in "$@"; do
  case $argument in
    --images | --images=* | --help*) has_images=1 ;;
  esac
done
arguments+=("$@")
if [ -z "$has_images" ]; then
  sample=$("$root/.venv/bin/python" -c 'import importlib.util as found, pathlib
folder = pathlib.Path(found.find_spec("matplotlib").origin).parent
print(folder / "mpl-data" / "sample_data" / "grace_hopper.jpg")')
  echo "No photograph given: taking $sample"
  arguments+=("--images=$sample")
fi
exec "$root/.venv/bin/python" -m fal_jax.main --mode=predict "${arguments[@]}"
