"""Where JAX keeps what it has compiled, for the next start."""

import os
from pathlib import Path

from fal_jax.errors import InputError
from fal_jax.output import bucket, folders


def keep(workdir: str) -> None:
  """Lets JAX keep what it compiles, for the next start.

  JAX runs what it finds there, so the folder must be the user's own; if it is not, one line says
  so, and nothing is kept.

  Args:
    workdir: the run's folder, beside which it is kept in `.compiled`; in the home of fal_jax if
      empty or in a bucket. JAX_COMPILATION_CACHE_DIR names another place, or none if it is empty;
      JAX reads it when it is imported.
  """
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  if bucket.is_address(workdir):
    workdir = ""
  beside = Path(workdir).expanduser().absolute().parent
  cache = beside / ".compiled" if workdir else folders.home().absolute() / "compiled"
  try:
    if beside.is_dir():  # a mistyped --workdir leaves nothing behind
      folders.make_private_dir(cache)
  except InputError as error:
    print(f"Note: nothing that is compiled is kept: {error}", flush=True)
    return
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
  # By default JAX keeps only what takes a second, which a fast machine's network for one face
  # does not.
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
