"""What is no longer finite is found wherever it is in a state."""

import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax.output import diverged
from fal_jax.steps import TrainState

FINITE = {"a": jnp.float32([1e38, -1e38]), "b": jnp.int32(3)}


@pytest.mark.parametrize("part", ["params", "batch_stats", "opt_state"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_anywhere_in_a_state_is_found(part, value):
  state = TrainState(jnp.int32(1), FINITE, FINITE, FINITE)
  assert diverged.bad_parts(state) == []

  worse = state.replace(**{part: {**FINITE, "a": jnp.float32([0, value])}})
  assert diverged.bad_parts(worse) == [part]


def test_a_network_without_statistics_is_finite():
  assert diverged.bad_parts(TrainState(jnp.int32(1), FINITE, {}, FINITE)) == []


def test_metrics_that_are_not_finite_are_named():
  assert diverged.bad_metrics({"loss": np.nan, "a": 1.0, "b": -np.inf}) == ["loss", "b"]
  assert diverged.bad_metrics({"loss": 1e38, "a": 0.0}) == []
