"""All checkpoints of a run, one after the other, without those that are damaged."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax import parallel
from fal_jax.checkpoint import Checkpoints

# What orbax leaves behind in its event loop when it meets a damaged file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def state(step):
  return parallel.replicate({"weight": jnp.full(5, float(step))})


def test_all_states_come_back_the_oldest_first_without_those_that_are_damaged(tmp_path):
  writer = Checkpoints(tmp_path)
  for step in (2, 4):
    writer.save(step, state(step), {"config": {}})
  writer.close()

  def restored():
    reader = Checkpoints(tmp_path, create=False)
    found = {step: float(np.mean(tree["weight"])) for step, tree in reader.restore_each(state(0))}
    reader.close()
    return list(found.items())

  assert restored() == [(2, 2.0), (4, 4.0)]
  shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
  assert restored() == [(4, 4.0)]
