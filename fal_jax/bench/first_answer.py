"""How long somebody waits for the points of a photograph: the first in a fresh process, and others.

The first are those of `--mode=predict` itself, from its start to its end. `python -m
fal_jax.bench.first_answer PHOTO` is the process that times the others, and `measure` starts it.
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

from fal_jax.bench import worker
from fal_jax.errors import InputError

NETWORK = "free-68"
REPEATS = 20  # calls, of whose times the median counts
PHOTOGRAPH = "mpl-data/sample_data/grace_hopper.jpg"  # in matplotlib, 512 x 600 px, public domain


def measure(*, rounds: int, echo: Callable[[str], None]) -> dict[str, list[float]]:
  """Fresh processes: without anything compiled, with what the first has compiled, and others.

  Args:
    rounds: how often.
    echo: progress callback.

  Returns:
    Seconds of each round: `first` and `second`, of the whole command; `face`, of a face whose box
    is known, `detector`, and `photo`, of reading a file, finding the face and its landmarks; where
    dlib and its network are installed, `dlib`: its detector and landmarks on the same image.

  Raises:
    InputError: there is no photograph, or no detector.
  """
  photo = _photograph()
  samples: dict[str, list[float]] = {}
  for number in range(rounds):
    echo(f"the first answer, cold and again: {number + 1} of {rounds}")
    with tempfile.TemporaryDirectory(prefix="fal_jax_bench_") as folder:
      environment = {**os.environ, "FAL_JAX_HOME": folder}
      environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # the command keeps it in FAL_JAX_HOME
      for name in ("first", "second"):
        start = time.perf_counter()
        _run(
          "fal_jax.main",
          "--mode=predict",
          f"--images={photo}",
          f"--out={folder}/out",
          f"--weights={NETWORK}",
          environment=environment,
        )
        samples.setdefault(name, []).append(time.perf_counter() - start)
    output = _run("fal_jax.bench.first_answer", photo, environment=dict(os.environ))
    for name, seconds in json.loads(output.splitlines()[-1]).items():
      samples.setdefault(name, []).append(seconds)
  return samples


def answer(photo: str) -> dict[str, float]:
  """Runs in a process of its own.

  Args:
    photo: an image file.

  Returns:
    Median seconds, see `measure`.
  """
  from fal_jax.detect import load_detector
  from fal_jax.images import read_image
  from fal_jax.predict import FaceAligner

  aligner = FaceAligner.from_pretrained(NETWORK)
  detector = load_detector(None)
  image = read_image(photo, upright=True)
  boxes = detector.find(image).boxes
  aligner(image, boxes)  # compiles

  def whole() -> None:
    photograph = read_image(photo, upright=True)
    aligner(photograph, detector.find(photograph).boxes)

  tasks = {
    "face": lambda: aligner(image, boxes),
    "detector": lambda: detector.find(image),
    "photo": whole,
  }
  if dlib := _dlib():
    tasks["dlib"] = lambda: dlib(image)
  return {name: _median_seconds(task) for name, task in tasks.items()}


def _run(module: str, *arguments: str, environment: dict[str, str]) -> str:
  """What a process of ours prints."""
  done = subprocess.run(
    [sys.executable, "-m", module, *arguments],
    cwd=worker.ROOT,
    env=environment,
    text=True,
    stdout=subprocess.PIPE,
    check=False,
  )
  if done.returncode:
    raise RuntimeError(f"A process of the bench ended with {done.returncode}, see above.")
  return done.stdout


def _photograph() -> str:
  """A photograph of matplotlib's."""
  matplotlib = importlib.util.find_spec("matplotlib")
  path = Path((matplotlib and matplotlib.origin) or "").parent / PHOTOGRAPH
  if not path.is_file():
    raise InputError(
      "--parts=predict needs the sample photograph of matplotlib: pip install 'fal_jax[demo]'."
    )
  return str(path)


def _dlib() -> Callable[[Any], Any] | None:
  """dlib's detector and its network of 68 landmarks, if face_recognition_models has brought it."""
  if not all(map(importlib.util.find_spec, ("dlib", "face_recognition_models"))):
    return None
  import dlib
  import face_recognition_models

  find = dlib.get_frontal_face_detector()
  locate = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
  return lambda image: [locate(image, box) for box in find(image)]


def _median_seconds(call: Callable[[], Any]) -> float:
  """The median over `REPEATS` calls."""
  samples = []
  for _ in range(REPEATS):
    start = time.perf_counter()
    call()
    samples.append(time.perf_counter() - start)
  return statistics.median(samples)


if __name__ == "__main__":
  print(json.dumps(answer(sys.argv[1])))
