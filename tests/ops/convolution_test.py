"""Our convolutions against `jax.lax.conv_general_dilated` and its automatic gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fal_jax.ops.convolution import convolve, convolve_to_float32

LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

# Shape of the kernel, strides, padding; the kernel's gradient is computed in different ways.
CASES = {
  "rows, narrower images": ((1, 1, 3, 5), (1, 1), "SAME"),
  "rows, narrower cotangent": ((1, 1, 5, 3), (1, 1), "VALID"),
  "1 x 1 with a border": ((1, 1, 4, 3), (1, 1), ((1, 0), (0, 2))),
  "1 x 1 with strides": ((1, 1, 4, 3), (2, 2), "SAME"),
  "3 x 3": ((3, 3, 6, 4), (1, 1), "SAME"),
  "3 x 3, as many channels": ((3, 3, 4, 4), (1, 1), "VALID"),
  "3 x 3, more channels": ((3, 3, 2, 7), (1, 1), "SAME"),
  "uneven kernel and border": ((3, 4, 5, 2), (1, 1), ((2, 0), (1, 3))),
  "the network's first": ((7, 7, 3, 8), (2, 2), ((3, 3), (3, 3))),
}


def gradients(function, images, kernel):
  """Result, and gradients under a cotangent that is not constant."""
  result, pull = jax.vjp(function, images, kernel)
  return result, pull(jnp.sin(jnp.arange(result.size, dtype=result.dtype)).reshape(result.shape))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_jax(case, backend, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  shape, strides, padding = CASES[case]
  rng = np.random.default_rng(0)

  def ours(images, kernel):
    return convolve(images, kernel, strides, padding, **LAYOUT)

  def theirs(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, strides, padding, **LAYOUT)

  with jax.enable_x64(True):
    images = jnp.asarray(rng.normal(size=(3, 9, 11, shape[2])))
    kernel = jnp.asarray(rng.normal(size=shape))

    arrays = jax.jit(functools.partial(gradients, ours))(images, kernel)
    expected = gradients(theirs, images, kernel)
    for a, b in zip(jax.tree.leaves(arrays), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["rows, narrower images", "3 x 3", "the network's first"])
def test_sums_of_bfloat16_stay_float32_and_gradients_become_bfloat16(case):
  shape, strides, padding = CASES[case]
  rng = np.random.default_rng(0)
  images, kernel = (
    jnp.asarray(rng.normal(size=size), jnp.bfloat16) for size in ((3, 9, 11, shape[2]), shape)
  )

  result, (to_images, to_kernel) = gradients(
    lambda x, w: convolve_to_float32(x, w, strides, padding, **LAYOUT), images, kernel
  )

  assert result.dtype == jnp.float32
  assert to_images.dtype == to_kernel.dtype == jnp.bfloat16
  wide = jax.lax.conv_general_dilated(
    *(array.astype(jnp.float32) for array in (images, kernel)), strides, padding, **LAYOUT
  )
  np.testing.assert_allclose(result, wide, atol=1e-4)

  # A result of bfloat16, stored in float32, would pass all of the above.
  assert np.abs(result - result.astype(jnp.bfloat16)).max() > 1e-3


def test_the_gradient_of_a_1_x_1_kernel_is_a_product_of_rows_and_not_a_convolution():
  """On CPU, where the gradient by a convolution takes twice the time."""
  images = jnp.ones((1, 4, 4, 3))
  kernel = jnp.ones((1, 1, 3, 2))

  step = jax.jit(jax.grad(lambda x, w: convolve(x, w, (1, 1), "SAME", **LAYOUT).sum(), argnums=1))

  assert step.lower(images, kernel).as_text().count("stablehlo.convolution") == 0
