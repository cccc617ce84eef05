"""How long somebody waits for the points of a photograph: the first in a fresh process, and others.

`python -m fal_jax.bench.first_answer PHOTO` is such a process, and `measure` the one that starts
it. It does what `--mode=predict --box=...` does with the network that comes with the package.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.bench import worker

NETWORK = "free-68"
REPEATS = 20  # calls per process, of whose times the median counts
BOX = np.array([[180.0, 90.0, 330.0, 260.0]])  # x0, y0, x1, y1: of the photograph's face, px
PHOTOGRAPH = "mpl-data/sample_data/grace_hopper.jpg"  # in matplotlib, 512 x 600 px, public domain


def measure(*, rounds: int, echo: Callable[[str], None]) -> dict[str, list[float]]:
  """Fresh processes in pairs: without anything compiled, and with what the first has compiled.

  Args:
    rounds: how many pairs.
    echo: progress callback.

  Returns:
    Seconds of each round: `first` and `second`, of the first answer in either process; `face` and
    `photo`, of those that follow in the second, without and with reading the file.
  """
  photo = _photograph()
  samples: dict[str, list[float]] = {"first": [], "second": [], "face": [], "photo": []}
  for number in range(rounds):
    echo(f"the first answer, cold and again: {number + 1} of {rounds}")
    with tempfile.TemporaryDirectory(prefix="fal_jax_bench_") as folder:
      environment = {**os.environ, **worker.compilation_cache(Path(folder))}
      for name in ("first", "second"):
        start = time.perf_counter()
        command = [sys.executable, "-m", "fal_jax.bench.first_answer", photo]
        process = subprocess.Popen(
          command, cwd=worker.ROOT, env=environment, text=True, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        samples[name].append(time.perf_counter() - start)
        later = process.communicate()[0]
        if process.returncode:
          raise RuntimeError(f"A process of the bench ended with {process.returncode}, see above.")
    for name, seconds in json.loads(later).items():
      samples[name].append(seconds)
  return samples


def answer(photo: str) -> None:
  """Runs in the fresh process: prints an empty line at the first answer, and JSON at the end."""
  from fal_jax.images import read_image
  from fal_jax.predict import FaceAligner

  aligner = FaceAligner.from_pretrained(NETWORK)
  aligner.warm_up()
  image = _read(photo, read_image)
  aligner(image, BOX)
  print(flush=True)

  seconds = {
    "face": _median_seconds(lambda: aligner(image, BOX)),
    "photo": _median_seconds(lambda: aligner(_read(photo, read_image), BOX)),
  }
  print(json.dumps(seconds))


def _photograph() -> str:
  """A photograph of matplotlib's, or "" where it is not installed: noise serves as well."""
  matplotlib = importlib.util.find_spec("matplotlib")
  if matplotlib is None or matplotlib.origin is None:
    return ""
  path = Path(matplotlib.origin).parent / PHOTOGRAPH
  return str(path) if path.is_file() else ""


def _read(photo: str, read_image: Callable[..., np.ndarray]) -> np.ndarray:
  """The photograph (H, W, 3) uint8; noise of its size if there is none."""
  if photo:
    return read_image(photo, upright=True)
  return np.random.default_rng(0).integers(0, 256, (600, 512, 3), np.uint8)


def _median_seconds(call: Callable[[], Any]) -> float:
  """The median over `REPEATS` calls."""
  samples = []
  for _ in range(REPEATS):
    start = time.perf_counter()
    call()
    samples.append(time.perf_counter() - start)
  return statistics.median(samples)


if __name__ == "__main__":
  answer(sys.argv[1])
