"""materialize_on_cpu prevents fusion."""

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax.ops.no_fusion import materialize_on_cpu


def twice_read(function):
  """A program that reads a function's result in two places."""
  return jax.jit(lambda x: (function(x).sum(), 3 * function(x)))


def test_a_function_is_a_call_of_its_own_and_gives_the_same():
  x = jnp.arange(6.0)

  materialized = twice_read(materialize_on_cpu(jnp.cos)).lower(x).compile()
  plain = twice_read(jnp.cos).lower(x).compile()

  assert " call(" in materialized.as_text() and " call(" not in plain.as_text()
  for a, b in zip(materialized(x), plain(x), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_it_can_be_mapped_and_differentiated():
  x = jnp.linspace(0, 1, 12).reshape(3, 4)
  sine = materialize_on_cpu(jnp.sin)

  np.testing.assert_allclose(jax.vmap(sine)(x), jnp.sin(x), rtol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda x: sine(x).sum())(x), jnp.cos(x), rtol=1e-6)


def test_other_platforms_get_the_function_itself(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  assert materialize_on_cpu(jnp.sin) is jnp.sin
