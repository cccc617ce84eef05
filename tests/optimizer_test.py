"""Adam and its learning rate: when it drops, and that the updates follow."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fal_jax.errors import InputError
from fal_jax.optimizer import adam


def rates_of_updates(tx: optax.GradientTransformation, count: int) -> np.ndarray:
  """(count,) learning rates of the first updates.

  Under a constant gradient Adam moves by exactly that.
  """
  params = jnp.zeros(())
  state = tx.init(params)

  rates = []
  for _ in range(count):
    update, state = tx.update(jnp.float32(3), state, params)
    rates.append(-float(update))

  return np.array(rates)


def test_the_rate_drops_after_exactly_the_updates_of_the_named_epochs():
  tx, schedule = adam(
    learning_rate=1e-2, drop_epochs=(2, 3), drop_factor=0.1, steps_per_epoch=5, epochs=50
  )

  expected = [1e-2] * 10 + [1e-3] * 5 + [1e-4] * 5
  np.testing.assert_allclose([schedule(step) for step in range(20)], expected, rtol=1e-5)
  np.testing.assert_allclose(rates_of_updates(tx, 20), expected, rtol=1e-3)


def test_the_paper_s_schedule_has_three_levels():
  _, schedule = adam(
    learning_rate=1e-4, drop_epochs=(25, 40), drop_factor=0.1, steps_per_epoch=312.5, epochs=50
  )

  first, second = round(25 * 312.5), round(40 * 312.5)
  steps = [0, first - 1, first, second - 1, second, round(50 * 312.5)]
  rates = [schedule(step) for step in steps]
  np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6], rtol=1e-5)


def numpy_adam(gradients: np.ndarray, rate: float) -> np.ndarray:
  """(T, N) updates of Adam as its authors print it (Algorithm 1), with their constants.

  Args:
    gradients: (T, N), of one step after the other.
    rate: the step size, alpha.
  """
  beta1, beta2, epsilon = 0.9, 0.999, 1e-8
  mean = np.zeros(gradients.shape[1])
  square = np.zeros(gradients.shape[1])

  updates = []
  for t, gradient in enumerate(gradients.astype(np.float64), 1):
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    unbiased_mean, unbiased_square = mean / (1 - beta1**t), square / (1 - beta2**t)
    updates.append(-rate * unbiased_mean / (np.sqrt(unbiased_square) + epsilon))
  return np.array(updates)


def test_the_updates_are_those_of_adam_with_its_authors_constants_and_no_decay():
  """The paper names Adam and nothing else.

  Some gradients are as small as epsilon, and the weights as large as decay would show.
  """
  rng = np.random.default_rng(0)
  gradients = rng.normal(size=(30, 4)) * [1, 1e-3, 3e-8, 1e-8]
  tx, _ = adam(learning_rate=1e-4, drop_epochs=(), drop_factor=0.1, steps_per_epoch=1, epochs=50)

  params = jnp.full(4, 50.0)
  state = tx.init(params)
  updates = []
  for gradient in gradients.astype(np.float32):
    update, state = tx.update(jnp.asarray(gradient), state, params)
    updates.append(update)

  np.testing.assert_allclose(updates, numpy_adam(gradients, 1e-4), rtol=1e-3, atol=1e-9)


def test_fractions_of_an_epoch_and_of_a_step_are_rounded_to_the_nearest_step():
  _, schedule = adam(
    learning_rate=1.0, drop_epochs=(0.5, 1.3), drop_factor=0.5, steps_per_epoch=7.4, epochs=50
  )
  np.testing.assert_allclose([schedule(step) for step in (3, 4, 9, 10)], [1, 0.5, 0.5, 0.25])


def test_without_drops_the_rate_is_constant():
  tx, schedule = adam(
    learning_rate=0.3, drop_epochs=(), drop_factor=0.1, steps_per_epoch=5, epochs=50
  )
  np.testing.assert_allclose([schedule(step) for step in (0, 10, 10**6)], 0.3)
  np.testing.assert_allclose(rates_of_updates(tx, 3), 0.3, rtol=1e-3)


def test_two_drops_that_round_to_one_step_are_both_applied():
  _, schedule = adam(
    learning_rate=1.0, drop_epochs=(1, 1.2), drop_factor=0.1, steps_per_epoch=2, epochs=50
  )
  np.testing.assert_allclose([schedule(step) for step in (1, 2)], [1, 0.01], rtol=1e-5)


def test_a_dataset_of_less_than_a_batch_still_makes_its_first_step_at_the_full_rate():
  _, schedule = adam(
    learning_rate=1.0, drop_epochs=(1,), drop_factor=0.1, steps_per_epoch=0.1, epochs=50
  )
  np.testing.assert_allclose([schedule(step) for step in (0, 1)], [1, 0.1], rtol=1e-5)


@pytest.mark.parametrize(
  "epochs", [(40, 25), (25, 25), (0, 25), (-1,), (float("nan"),), (25, float("inf"))]
)
def test_drop_epochs_must_be_positive_finite_and_increasing(epochs):
  with pytest.raises(InputError) as error:
    adam(learning_rate=1e-4, drop_epochs=epochs, drop_factor=0.1, steps_per_epoch=10, epochs=50)
  assert str(error.value) == (
    f"optimizer.drop_epochs must be positive, finite and strictly increasing, got {epochs}."
  )


@pytest.mark.parametrize("factor", [0, -0.1, 10, float("nan")])
def test_a_factor_that_is_not_a_drop_is_refused(factor):
  with pytest.raises(InputError, match="drop_factor"):
    adam(learning_rate=1e-4, drop_epochs=(25,), drop_factor=factor, steps_per_epoch=10, epochs=50)


def test_the_cosine_starts_at_the_rate_is_half_of_it_in_the_middle_and_ends_at_a_hundredth():
  tx, schedule = adam(
    learning_rate=1e-2,
    drop_epochs=(),
    drop_factor=0.1,
    steps_per_epoch=5,
    epochs=4,
    schedule="cosine",
  )

  expected = [1e-2 * (0.01 + 0.99 * (1 + np.cos(np.pi * step / 20)) / 2) for step in range(21)]
  np.testing.assert_allclose([schedule(step) for step in range(21)], expected, rtol=1e-5)
  np.testing.assert_allclose(rates_of_updates(tx, 20), expected[:20], rtol=1e-3)


@pytest.mark.parametrize("schedule", ["drops", "cosine"])
def test_the_rate_rises_linearly_over_the_first_steps_and_then_follows_its_schedule(schedule):
  options = {
    "learning_rate": 1e-2,
    "drop_epochs": (3,),
    "drop_factor": 0.1,
    "steps_per_epoch": 5,
    "epochs": 4,
    "schedule": schedule,
  }
  _, plain = adam(**options)
  _, rising = adam(**options, warmup=0.2)

  factors = [rising(step) / plain(step) for step in range(20)]
  np.testing.assert_allclose(factors, [0.25, 0.5, 0.75, *[1] * 17], rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"schedule": "linear"}, "drops, cosine"),
    ({"warmup": 1.0}, "warmup"),
    ({"warmup": -0.1}, "warmup"),
    ({"warmup": float("nan")}, "warmup"),
  ],
)
def test_an_unknown_schedule_or_an_impossible_warmup_is_refused(options, named):
  with pytest.raises(InputError, match=named):
    adam(
      learning_rate=1e-4, drop_epochs=(), drop_factor=0.1, steps_per_epoch=1, epochs=1, **options
    )


@pytest.mark.parametrize("schedule", ["drops", "cosine"])
def test_a_run_that_is_ahead_of_its_steps_has_the_rate_of_its_epochs(schedule):
  """Thirty steps of 8 images of 80, then of 16: the rate is a function of the images seen."""
  options = {"learning_rate": 1e-2, "drop_epochs": (5, 9), "drop_factor": 0.1, "epochs": 10}
  options |= {"schedule": schedule, "warmup": 0.1}
  _, by_eight = adam(steps_per_epoch=10, **options)
  tx, by_sixteen = adam(steps_per_epoch=5, steps_ahead=30 * (8 - 16) / 16, **options)

  steps = np.arange(30, 66)
  seen = 30 * 8 + (steps - 30) * 16
  expected = [float(by_eight(images // 8)) for images in seen]
  np.testing.assert_allclose([float(by_sixteen(step)) for step in steps], expected, rtol=1e-5)
  assert len(set(expected)) > 1
  assert tx.init(jnp.zeros(3))[0].count == 0
