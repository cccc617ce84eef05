"""The hand-written BatchNorm and ReLU against Flax's, and against automatic differentiation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fal_jax.ops.batch_norm import EPSILON, affine_relu, batch_norm_relu


def inputs(
  dtype: type = np.float32, shape: tuple[int, ...] = (8, 5, 6, 7)
) -> tuple[np.ndarray, ...]:
  """x (..., C), scale (C,), bias (C,) and a cotangent (..., C).

  Channels differ in mean and spread, and about half of the results are rectified.
  """
  rng = np.random.default_rng(0)
  channels = shape[-1]
  x = rng.normal(size=shape) * rng.uniform(0.5, 2, channels) + rng.normal(size=channels)
  scale, bias = rng.normal(size=(2, channels))
  return tuple(array.astype(dtype) for array in (x, scale, bias, rng.normal(size=shape)))


def flax_batch_norm_relu(x, scale, bias, epsilon=EPSILON):
  """The same by Flax: result (..., C), mean (C,), variance (C,).

  The running statistics after one batch with momentum 0 are those of the batch.
  """
  norm = nn.BatchNorm(use_running_average=False, momentum=0.0, epsilon=epsilon, dtype=x.dtype)
  ones = jnp.ones_like(scale)
  variables = {
    "params": {"scale": scale, "bias": bias},
    "batch_stats": {"mean": 0 * ones, "var": ones},
  }

  y, updated = norm.apply(variables, x, mutable=["batch_stats"])
  return nn.relu(y), updated["batch_stats"]["mean"], updated["batch_stats"]["var"]


def with_gradients(function, x, scale, bias, cotangent):
  """The results of a function, and the gradients of its first one."""
  result, pull = jax.vjp(function, x, scale, bias)
  return result, pull((cotangent, jnp.zeros_like(scale), jnp.zeros_like(scale)))


# Of this device alone.
batch_norm_relu_alone = functools.partial(batch_norm_relu, axis_name=None, epsilon=EPSILON)
with_gradients_alone = jax.jit(functools.partial(with_gradients, batch_norm_relu_alone))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_values_and_gradients_equal_those_of_flax(dtype, tolerance):
  with jax.enable_x64(dtype == np.float64):
    arrays = [jnp.asarray(array) for array in inputs(dtype)]
    ours = with_gradients_alone(*arrays)
    theirs = jax.jit(functools.partial(with_gradients, flax_batch_norm_relu))(*arrays)

  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    assert a.dtype == dtype
    np.testing.assert_allclose(a, b, atol=tolerance * max(1, np.abs(b).max()))


def test_another_epsilon_changes_values_and_gradients_as_it_does_in_flax():
  """Channels of hardly any variance, where it counts."""
  x, *rest = (jnp.asarray(array) for array in inputs())
  arrays = (x * 0.03, *rest)
  ours = functools.partial(batch_norm_relu, axis_name=None, epsilon=1e-3)
  theirs = functools.partial(flax_batch_norm_relu, epsilon=1e-3)

  results = jax.jit(functools.partial(with_gradients, ours))(*arrays)
  expected = jax.jit(functools.partial(with_gradients, theirs))(*arrays)

  for a, b in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
  usual, _ = with_gradients_alone(*arrays)
  assert np.abs(usual[0] - results[0][0]).max() > 0.1
  inference = affine_relu(arrays[0], *expected[0][1:], *arrays[1:3], epsilon=1e-3)
  np.testing.assert_allclose(inference, expected[0][0], atol=1e-4)


@pytest.mark.parametrize("devices", [1, 4, 8])
def test_any_number_of_devices_gives_what_one_gives_on_the_joint_batch(devices):
  with jax.enable_x64(True):
    x, scale, bias, cotangent = (jnp.asarray(array) for array in inputs(np.float64))

    def one_device(x, scale, bias, cotangent):
      ours = functools.partial(batch_norm_relu, axis_name="devices", epsilon=EPSILON)
      result, (dx, dscale, dbias) = with_gradients(ours, x, scale, bias, cotangent)
      return result, dx, jax.lax.psum((dscale, dbias), "devices")

    joint, joint_gradients = with_gradients_alone(x, scale, bias, cotangent)
    mapped = jax.pmap(
      one_device, axis_name="devices", in_axes=(0, None, None, 0), devices=jax.devices()[:devices]
    )
    shares, cotangents = (array.reshape(devices, -1, *x.shape[1:]) for array in (x, cotangent))
    (y, mean, variance), dx, (dscale, dbias) = mapped(shares, scale, bias, cotangents)

  np.testing.assert_allclose(y.reshape(x.shape), joint[0], atol=1e-10)
  np.testing.assert_allclose(dx.reshape(x.shape), joint_gradients[0], atol=1e-10)
  for device in range(devices):
    np.testing.assert_allclose([mean[device], variance[device]], joint[1:], atol=1e-10)
    np.testing.assert_allclose([dscale[device], dbias[device]], joint_gradients[1:], atol=1e-9)


def test_without_an_axis_every_device_normalises_by_its_own_batch():
  x, scale, bias, _ = inputs()
  shares = x.reshape(4, 2, *x.shape[1:])

  def one_device(x):
    return batch_norm_relu(x, scale, bias, None, EPSILON)

  mapped = jax.pmap(one_device, axis_name="devices", devices=jax.devices()[:4])
  _, mean, variance = mapped(shares)

  np.testing.assert_allclose(mean, shares.mean((1, 2, 3)), atol=1e-5)
  np.testing.assert_allclose(variance, shares.var((1, 2, 3)), rtol=1e-4)


def test_given_statistics_are_used_as_they_are():
  x, scale, bias, _ = inputs()
  mean = np.float32([1, -2, 0, 3, 5, 6, 7])
  variance = np.float32([1, 2, 3, 0, 0.5, 6, 7])

  y = affine_relu(x, mean, variance, scale, bias)

  expected = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + bias, 0)
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_given_statistics_of_the_batch_give_what_batch_norm_gives():
  x, scale, bias, _ = inputs()
  y, mean, variance = batch_norm_relu(x, scale, bias, None, EPSILON)
  np.testing.assert_allclose(affine_relu(x, mean, variance, scale, bias), y, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 3.7, -1e4])
def test_a_constant_channel_has_variance_zero_and_finite_gradients(constant):
  """A difference of moments can round below zero, whose square root would be NaN."""
  x = np.full((4, 3, 3, 2), constant, np.float32)
  scale, bias = np.float32([1, 2]), np.float32([0.5, -0.5])

  (y, _, variance), gradients = with_gradients_alone(x, scale, bias, np.ones_like(x))

  assert (np.asarray(variance) >= 0).all() and np.isfinite(y).all()
  assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_gradient_sent_into_the_statistics_goes_nowhere():
  x, scale, bias, _ = inputs()

  def total(x):
    _, mean, variance = batch_norm_relu(x, scale, bias, None, EPSILON)
    return mean.sum() + variance.sum()

  assert not np.asarray(jax.jit(jax.grad(total))(x)).any()


def test_in_bfloat16_only_input_and_result_are_rounded():
  """Statistics and gradients are those of float32 for the same rounded values.

  Rounding a result to 8 bits may take half of the last one.
  """
  x, scale, bias, cotangent = (jnp.asarray(array) for array in inputs())
  x, cotangent = x.astype(jnp.bfloat16), cotangent.astype(jnp.bfloat16)

  (y, *statistics), (dx, *d_parameters) = with_gradients_alone(x, scale, bias, cotangent)
  wide = with_gradients_alone(x.astype(jnp.float32), scale, bias, cotangent.astype(jnp.float32))
  (wide_y, *wide_statistics), (wide_dx, *wide_d_parameters) = wide

  assert y.dtype == dx.dtype == jnp.bfloat16
  for narrow, exact in ((y, wide_y), (dx, wide_dx)):
    np.testing.assert_allclose(narrow.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)

  per_channel = (*statistics, *d_parameters)
  for ours, exact in zip(per_channel, (*wide_statistics, *wide_d_parameters), strict=True):
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-4)

  with_statistics = affine_relu(x, *wide_statistics, scale, bias).astype(jnp.float32)
  np.testing.assert_allclose(with_statistics, wide_y, rtol=2**-8, atol=1e-6)
