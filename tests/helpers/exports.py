"""A small network with random weights, exported once for all tests of a process."""

import functools
from pathlib import Path

import numpy as np
import runs
import tiny_dataset

from fal_jax.export import run as export
from fal_jax.export.options import Options

STEP = 12
SIZE = 64  # px, of the crop
IMAGES = np.random.default_rng(0).integers(0, 256, (17, SIZE, SIZE, 3), dtype=np.uint8)


@functools.cache
def workdir(session: Path) -> Path:
  """A run of it, which was never trained; it must not be written to."""
  config = tiny_dataset.config(session / "secret" / "data")
  return runs.save_untrained(session / "exported_run", config, step=STEP)


@functools.cache
def folder(session: Path) -> Path:
  """Its export, with all formats; it must not be written to."""
  out = session / "exports" / "tiny"
  export.run(Options(weights=str(workdir(session)), out=out))
  return out
