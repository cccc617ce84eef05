"""The first answer waits for nothing that is not needed for it."""

import pytest
from imported import modules_after

HEAVY = ("tensorflow_datasets", "orbax", "grain", "optax", "matplotlib", "scipy", "tensorboardX")


@pytest.mark.slow
def test_a_network_that_comes_along_predicts_without_libraries_of_training_and_drawing(tmp_path):
  program = """
import cv2, numpy
from fal_jax.photos import run
from fal_jax.photos.options import Options

cv2.imwrite("grey.png", numpy.full((60, 50), 127, numpy.uint8))
run.run(Options(images=("grey.png",), whole_image=True, pts=True), command="")
"""
  assert modules_after(program, tmp_path, names=HEAVY) == []


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
  assert modules_after(program, tmp_path, names=("jax", *HEAVY)) == []
