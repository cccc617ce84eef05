# shellcheck shell=bash
# Creates .venv from the lock file of the Python that is found. To be sourced from the repository's
# root, as demo.sh, test.sh and bench_gpu.sh do.
# FAL_JAX_PYTHON names an interpreter other than python3.

version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

make_environment() {
  local python=${FAL_JAX_PYTHON:-} version executable lock stamp
  # Without a word of the user's an environment stays one of the Python that it was made with.
  if [ -z "$python" ]; then
    python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)' 2>/dev/null) ||
      python=python3
  fi
  if ! version=$(version_of "$python"); then
    echo "No Python found as '$python': install Python 3.11, 3.12 or 3.13, or name one," \
      "e.g. FAL_JAX_PYTHON=python3.12 $0" >&2
    return 2
  fi
  lock=launch/locks/py${version/./}.txt
  if [ ! -f "$lock" ]; then
    echo "'$python' is Python $version; fal_jax supports 3.11, 3.12 and 3.13. Name one," \
      "e.g. FAL_JAX_PYTHON=python3.12 $0" >&2
    return 2
  fi
  executable=$("$python" -c 'import sys; print(sys._base_executable)')

  # The stamp holds what the environment was made from: a second start costs nothing, and a changed
  # lock file is noticed.
  stamp=$("$python" -c 'import sys; print(sys.version)'; cat "$lock" pyproject.toml)
  if [ -f .venv/made_from ] && [ "$(cat .venv/made_from)" = "$stamp" ]; then
    return 0
  fi
  if [ -d .venv ]; then
    echo "Making .venv anew: it was made from another Python, lock file or pyproject.toml"
    rm -rf .venv
  fi
  if command -v uv >/dev/null 2>&1; then
    echo "Creating .venv with uv for Python $version ($executable)"
    uv venv --quiet --python "$executable" .venv
    uv pip install --quiet --python .venv/bin/python -r "$lock"
    uv pip install --quiet --python .venv/bin/python --no-deps -e .
  else
    echo "Creating .venv with pip for Python $version ($executable): about a minute"
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
  fi
  printf '%s\n' "$stamp" > .venv/made_from
}
