#!/usr/bin/env bash
# One host's part of a training that goes on when nobody is logged in. tpu_vm.sh calls it on every
# host of a TPU.
#   launch/worker.sh start [--python=COMMAND] [flags of fal_jax.main] | status | stop
# --python  an interpreter that has all that is needed; nothing is installed
# The training writes to runs/worker.log; the same `start` resumes it.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
source launch/accelerator.sh
pid=runs/worker.pid code=runs/worker.code log=runs/worker.log

running() {
  [ -s "$pid" ] && [ ! -e "$code" ] && kill -0 "$(cat "$pid")" 2>/dev/null
}

# TPU VMs come with Ubuntu's Python, 3.10 on 22.04, which is too old.
find_python() {
  local name
  export PATH=$HOME/.local/bin:$PATH
  for name in ${FAL_JAX_PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  python3 -m pip install --quiet --user uv >&2
  uv python install --quiet 3.12 >&2
  uv python find 3.12
}

start() {
  local python=''
  if running; then
    echo "Already training here (process $(cat "$pid")): stop it first." >&2
    return 2
  fi
  if [[ ${1:-} == --python=* ]]; then
    python=${1#*=}
    shift
  else
    FAL_JAX_PYTHON=$(find_python)
    export PATH=$HOME/.local/bin:$PATH FAL_JAX_PYTHON
    make_environment
    install_jax "$(accelerator)"
    install_gcs "$@"
    python=.venv/bin/python
  fi
  # Where Google's firewall lets the VMs of a slice talk; JAX's own choice is closed on some
  # (jax-ml/jax#35905).
  export JAX_COORDINATOR_PORT=${JAX_COORDINATOR_PORT:-8476}
  mkdir -p runs
  rm -f "$pid" "$code"
  # A session of its own: the connection that started it may go away.
  # shellcheck disable=SC2016,SC2094
  setsid nohup bash -c '"${@:4}" & echo $! >"$1.new"; mv "$1.new" "$1"
    wait $! && said=0 || said=$?; echo $said >"$2.new"; mv "$2.new" "$2"
    ' start "$pid" "$code" "$log" "$python" -m fal_jax.main "$@" >>"$log" 2>&1 </dev/null &
  echo "$(hostname): started, see $PWD/$log"
}

status() {
  local last
  last=$(tail -n 1 "$log" 2>/dev/null) || last=
  if running; then
    echo "$(hostname): running: $last"
  elif [ -e "$code" ]; then
    echo "$(hostname): ended with $(cat "$code"): $last"
  else
    echo "$(hostname): not started"
  fi
}

stop() {
  if running; then
    kill -TERM "$(cat "$pid")"
    echo "$(hostname): told to save and stop"
  else
    status
  fi
}

case ${1:-} in
  start | status | stop) "$@" ;;
  *)
    echo "$0: say start, status or stop, got '${1:-}'." >&2
    exit 2
    ;;
esac
