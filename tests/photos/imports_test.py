"""The first answer waits for nothing that is not needed for it."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny_dataset

HEAVY = ("tensorflow_datasets", "orbax", "grain", "optax", "matplotlib", "scipy", "tensorboardX")


def _modules_after(program: str, folder: Path, *, names: Sequence[str]) -> list[str]:
  """Those of `names` that are imported when a program, run in a process of its own, is done."""
  program += f"\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=folder,
    env={"PYTHONPATH": str(tiny_dataset.ROOT), "HOME": str(folder)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_network_that_comes_along_predicts_without_libraries_of_training_and_drawing(tmp_path):
  program = """
import cv2, numpy
from fal_jax.photos import run
from fal_jax.photos.options import Options

cv2.imwrite("grey.png", numpy.full((60, 50), 127, numpy.uint8))
run.run(Options(images=("grey.png",), whole_image=True, pts=True), command="")
"""
  assert _modules_after(program, tmp_path, names=HEAVY) == []


def test_a_lone_bad_photograph_is_refused_before_jax_is_imported(tmp_path):
  program = """
from pathlib import Path
from fal_jax.errors import InputError
from fal_jax.photos import run
from fal_jax.photos.options import Options

Path("bad.jpg").write_bytes(b"junk")
try:
  run.run(Options(images=("bad.jpg",), out=Path("out")), command="")
  raise SystemExit("not refused")
except InputError as error:
  assert str(error).startswith("bad.jpg: not an image"), error
"""
  assert _modules_after(program, tmp_path, names=("jax", *HEAVY)) == []
