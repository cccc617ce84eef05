"""Which commit of the code runs."""

import os
import subprocess
from pathlib import Path

import fal_jax


def git_commit() -> str | None:
  """Commit of the checkout that this package runs from.

  Returns:
    Forty hexadecimal digits; where there is no checkout, what FAL_JAX_COMMIT says (a container's
    image was made from that), and None without it.
  """
  package = Path(fal_jax.__file__).parent
  try:
    result = subprocess.run(
      ["git", "rev-parse", "HEAD"],
      cwd=package,
      capture_output=True,
      text=True,
      check=True,
      timeout=10,
    )
  except (OSError, subprocess.SubprocessError):
    return os.environ.get("FAL_JAX_COMMIT") or None
  return result.stdout.strip()
