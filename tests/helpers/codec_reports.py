"""Reports about the codec on random faces."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax.codec_report import report


def config(**changes: Any) -> ConfigDict:
  """At the paper's size; without a dataset."""
  options = {"crop__size": 256, "crop__stored_size": 416, "crop__face": 220.0, **changes}
  return tiny_dataset.config(Path("nowhere"), **options)


def many_faces(count: int = 40, num: int = 29) -> np.ndarray:
  """(N, K, 2) image px: random points of faces of random size and place.

  So their offsets in a cell are random as well.
  """
  rng = np.random.default_rng(num)
  sides = rng.uniform(80, 400, (count, 1, 1))
  return rng.uniform(-20, 500, (count, 1, 2)) + sides * rng.uniform(0, 1, (count, num, 2))


def write_npz(folder: Path, **arrays: Any) -> str:
  """Writes `faces.npz` and returns its path."""
  np.savez(folder / "faces.npz", **arrays)
  return str(folder / "faces.npz")


def run_report(tmp_path: Path, path: str | None, **changes: Any) -> tuple[dict[str, Any], str]:
  """The only report's JSON, and what belongs on the screen."""
  (text,) = report.run(config(**changes), tmp_path / "run", path, command="the command")
  (written,) = (tmp_path / "run" / "codec_report").glob("*.json")
  return json.loads(written.read_text()), text
