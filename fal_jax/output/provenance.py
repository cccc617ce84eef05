"""Where a number comes from: what it was measured on, how, and by which code."""

import subprocess
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import fal_jax
from fal_jax import build


def provenance(config: ConfigDict, *, split: str, step: int | None) -> dict[str, Any]:
  """What a number needs to be compared with another: data, box, crop, decoder, step and code.

  Args:
    config: the config that it was measured under.
    split: the split evaluated on; empty where there is none.
    step: the training step that the weights are from; 0 where there are none, None where it is not
      known.

  Returns:
    A mapping ready for JSON.
  """
  return {
    "dataset": build.eval_dataset(config),
    "split": split,
    "box": config.data.box,
    "crop": config.crop.to_dict(),
    "codec": config.codec.to_dict(),
    "model": {**config.model.to_dict(), "dtype": build.precision(config)},
    "step": step,
    "seed": config.seed,
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }


def git_commit() -> str | None:
  """Commit of the checkout that this package runs from; None when it is installed elsewhere."""
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
    return None
  return result.stdout.strip()
