"""Our depthwise convolution against `jax.lax.conv_general_dilated` and its automatic gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax.ops.depthwise import convolve_depthwise

CHANNELS = 5
LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": CHANNELS}

# Sides of images and kernel, strides, padding.
CASES = {
  "3 x 3": ((8, 6), (3, 3), (1, 1), ((1, 1), (1, 1))),
  "3 x 3 on odd sides": ((7, 5), (3, 3), (1, 1), "SAME"),
  "smaller than the kernel": ((2, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
  "4 x 4 that halves": ((8, 6), (4, 4), (2, 2), ((1, 1), (1, 1))),
  "4 x 4 that halves two": ((2, 2), (4, 4), (2, 2), ((1, 1), (1, 1))),
  "3 x 3 that halves odd sides": ((9, 7), (3, 3), (2, 2), ((1, 1), (1, 1))),
  "the last column unread": ((8, 6), (3, 3), (2, 2), "VALID"),
  "uneven in all": ((9, 11), (2, 5), (3, 1), ((2, 0), (1, 3))),
}


def gradients(function, images, kernel):
  """Result, and gradients under a cotangent that is not constant."""
  result, pull = jax.vjp(function, images, kernel)
  return result, pull(jnp.sin(jnp.arange(result.size, dtype=result.dtype)).reshape(result.shape))


def arrays(sides: tuple[int, int], kernel: tuple[int, int], dtype: type) -> tuple:
  """Random images (3, H, W, C) and a kernel (h, w, 1, C)."""
  rng = np.random.default_rng(0)
  shapes = (3, *sides, CHANNELS), (*kernel, 1, CHANNELS)
  return tuple(jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_jax(case):
  sides, kernel, strides, padding = CASES[case]

  def ours(images, kernel):
    return convolve_depthwise(images, kernel, strides, padding, **LAYOUT)

  def theirs(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, strides, padding, **LAYOUT)

  with jax.enable_x64(True):
    inputs = arrays(sides, kernel, jnp.float64)
    found = jax.jit(functools.partial(gradients, ours))(*inputs)
    expected = jax.jit(functools.partial(gradients, theirs))(*inputs)

  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.slow
def test_in_bfloat16_only_inputs_and_results_are_rounded():
  sides, kernel, strides, padding = CASES["4 x 4 that halves"]

  def ours(images, kernel):
    return convolve_depthwise(images, kernel, strides, padding, **LAYOUT)

  narrow = arrays(sides, kernel, jnp.bfloat16)
  found = jax.jit(functools.partial(gradients, ours))(*narrow)
  wide = tuple(array.astype(jnp.float32) for array in narrow)
  result, pull = jax.vjp(ours, *wide)
  cotangent = jnp.sin(jnp.arange(result.size, dtype=jnp.bfloat16)).reshape(result.shape)
  expected = result, pull(cotangent.astype(jnp.float32))

  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert a.dtype == jnp.bfloat16
    np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(("backend", "convolutions"), [("cpu", 0), ("gpu", 3)])
def test_a_cpu_computes_no_convolution_for_value_and_gradients(backend, convolutions, monkeypatch):
  """Where it takes a multiple of the time; other platforms have kernels for it."""
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  sides, kernel, strides, padding = CASES["3 x 3"]

  def total(images, kernel):
    return (convolve_depthwise(images, kernel, strides, padding, **LAYOUT) ** 2).sum()

  step = jax.jit(jax.grad(total, argnums=(0, 1)))
  lowered = step.lower(*arrays(sides, kernel, jnp.float32))
  assert lowered.as_text().count("stablehlo.convolution(") == convolutions
