# shellcheck shell=bash
# Which accelerator this machine has, and JAX for it. To be sourced from the repository's root, as
# bench_gpu.sh, train_gpu.sh, train_tpu.sh, worker.sh and slurm.sbatch do.
# FAL_JAX_ACCELERATOR  cuda12, cuda13, tpu or cpu; by default what the driver reports

accelerator() {
  local version
  if [ -n "${FAL_JAX_ACCELERATOR:-}" ]; then
    echo "$FAL_JAX_ACCELERATOR"
    return
  fi
  version=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p') || version=
  if [ -n "$version" ]; then
    if [ "$version" -ge 13 ]; then echo cuda13; else echo cuda12; fi
  elif compgen -G "/dev/accel*" >/dev/null || compgen -G "/dev/vfio/[0-9]*" >/dev/null; then
    echo tpu
  else
    echo "No GPU or TPU found: run this on a machine that has one, or try it out with" \
      "FAL_JAX_ACCELERATOR=cpu" >&2
    return 2
  fi
}

install() {  # packages... into .venv
  if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python .venv/bin/python "$@"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

install_jax() {  # cuda12, cuda13 or tpu: its libraries for the JAX that is in .venv
  install "jax[$1]==$(.venv/bin/python -c 'import jax; print(jax.__version__)')"
}

install_gcs() {  # words...: what reaches a bucket, where one of them names gs://
  local lock
  case $* in
    *gs://*)
      lock=launch/locks/py$(.venv/bin/python -c 'import sys; print("%d%d" % sys.version_info[:2])').txt
      install --constraint "$lock" 'gcsfs>=2026.10'
      ;;
  esac
}
