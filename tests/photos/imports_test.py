"""The first answer waits for nothing that is not needed for it."""

import subprocess
import sys

import pytest
import tiny_dataset

HEAVY = ("tensorflow_datasets", "orbax", "grain", "optax", "matplotlib", "scipy", "tensorboardX")


@pytest.mark.slow
def test_a_network_that_comes_along_predicts_without_libraries_of_training_and_drawing(tmp_path):
  program = f"""
import sys
import cv2, numpy
from fal_jax.photos import run
from fal_jax.photos.options import Options

cv2.imwrite("grey.png", numpy.full((60, 50), 127, numpy.uint8))
run.run(Options(images=("grey.png",), whole_image=True, pts=True), command="")
print([name for name in {HEAVY} if name in sys.modules])
"""
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=tmp_path,
    env={"PYTHONPATH": str(tiny_dataset.ROOT), "HOME": str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == "[]"
