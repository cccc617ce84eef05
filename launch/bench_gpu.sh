#!/usr/bin/env bash
# Everything there is to know about the speed of one GPU (or TPU) machine, in one folder to take
# home.
#   ./launch/bench_gpu.sh [FOLDER] [flags of fal_jax.main]        FOLDER defaults to runs/bench_gpu
# FAL_JAX_ACCELERATOR  cuda12, cuda13, tpu or cpu; by default what the driver reports
# FAL_JAX_TORCH        0 leaves out PyTorch, which is otherwise installed and measured beside ours
# The machine needs only Python, a driver and access to the package index. It takes about half an
# hour on one GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
source launch/accelerator.sh
folder=runs/bench_gpu
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  folder=$1
  shift
fi
case $folder in
  *://*)
    echo "$0: $folder is an address: name a folder of this machine." >&2
    exit 2
    ;;
esac

kind=$(accelerator)
make_environment
sizes=32,8,16,64,128
if [ "$kind" = cpu ]; then
  sizes=2
else
  if [ "$kind" != tpu ] && [ "${FAL_JAX_TORCH:-1}" != 0 ]; then
    # Before JAX's libraries: both bring some of NVIDIA's, and those that JAX asks for must win.
    install "torch>=2.10" || echo "PyTorch cannot be installed here: it will not be measured"
    # The rest of the memory is PyTorch's.
    export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.6}
  fi
  install_jax "$kind"
fi
.venv/bin/python -c '
import jax
print("Measuring", jax.device_count(), "x", jax.devices()[0].device_kind)'
mkdir -p "$folder"
if command -v nvidia-smi >/dev/null 2>&1; then
  nvidia-smi -q >"$folder/nvidia-smi.txt" || true
fi

failed=0
measure() {  # NAME flags...
  local name=$1
  shift
  echo "--- $name"
  if .venv/bin/python -m fal_jax.main --config=configs/wflw.py --mode=bench \
      --workdir="$folder/$name" "$@" 2>&1 | tee "$folder/$name.log"; then
    cp "$folder/$name/bench/bench.json" "$folder/$name.json"
    cp "$folder/$name/bench/bench.md" "$folder/$name.md"
  else
    failed=1  # the other measurements are still worth having
    echo "$name failed, see $folder/$name.log" >&2
  fi
}

parts=first_step,forward,step,encode,decode,warp,render,determinism,input,trace
if .venv/bin/python -c 'import torch' 2>/dev/null; then
  parts=$parts,torch
  [ "$kind" = cpu ] || parts=$parts,torch_compile
fi
for dtype in bfloat16 float32; do
  measure "$dtype" --config.model.dtype=$dtype --parts=$parts --batch_sizes=$sizes "$@"
done
if [ "${kind#cuda}" != "$kind" ]; then
  XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true" \
    measure deterministic --parts=step,warp,determinism --batch_sizes=${sizes%%,*} "$@"
fi
shopt -s nullglob
tables=("$folder"/*.md)
echo "All tables are in $folder: ${tables[*]##*/}"
exit $failed
