"""Programs as XLA compiles them for users calculate what those of our tests do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from step_fixtures import RECIPE, initial_state, make_batch, run

from fal_jax import steps

# Prints what this file's functions give there.
PROGRAM = """
import json, sys
sys.path[:0] = sys.argv[1:]
import users_compile_test as ours
print(json.dumps({"sums": ours.sums_of_pixels(), "losses": ours.losses()}))
"""


def render_views(images: np.ndarray, index: np.ndarray) -> jax.Array:
  return steps.render_views(RECIPE, images, steps.sample_views(RECIPE, 0, index))


def sums_of_pixels() -> list:
  """The sum of each channel of each of two views of eight faces."""
  batch = make_batch(8)
  rendered = jax.jit(render_views)(batch["image"], batch["index"])
  return np.asarray(rendered, np.float64).sum((-3, -2)).tolist()


def losses() -> list[float]:
  """Of two training steps on one device."""
  _, log = run(RECIPE, initial_state(RECIPE), make_batch(4), devices=1, count=2)
  return [values["loss"] for values in log]


def test_colours_of_views_do_not_depend_on_how_they_are_compiled():
  batch = make_batch(8)
  step_by_step = np.asarray(render_views(batch["image"], batch["index"]), np.float64)

  compiled = sums_of_pixels()

  np.testing.assert_allclose(compiled, step_by_step.sum((-3, -2)), rtol=1e-5)


@pytest.mark.heavy
def test_views_and_losses_are_the_same_as_users_compile_them():
  tests = Path(__file__).parent
  as_users = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=3"}  # the default
  command = [sys.executable, "-c", PROGRAM, str(tests), str(tests / "helpers"), str(tests.parent)]

  done = subprocess.run(command, env=as_users, capture_output=True, text=True, check=True)

  theirs = json.loads(done.stdout)
  np.testing.assert_allclose(theirs["sums"], sums_of_pixels(), rtol=1e-5)
  np.testing.assert_allclose(theirs["losses"], losses(), rtol=1e-4)
