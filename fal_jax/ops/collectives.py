"""Sums and means over devices that cost nothing on one device.

XLA keeps a collective over a single CPU device; 74 of them take a fifth of a small network's step.
"""

from typing import Any

import jax


def psum(tree: Any, axis_name: str | None) -> Any:
  """Sum over devices.

  Args:
    tree: tree of arrays.
    axis_name: name of the device axis, or None.

  Returns:
    A tree of the same shapes: `tree` itself without an axis or on a single device.
  """
  return tree if _alone(axis_name) else jax.lax.psum(tree, axis_name)


def pmean(tree: Any, axis_name: str | None) -> Any:
  """Mean over devices.

  Args:
    tree: tree of arrays.
    axis_name: name of the device axis, or None.

  Returns:
    A tree of the same shapes: `tree` itself without an axis or on a single device.
  """
  return tree if _alone(axis_name) else jax.lax.pmean(tree, axis_name)


def _alone(axis_name: str | None) -> bool:
  """Whether there is no other device to exchange anything with."""
  return axis_name is None or jax.lax.axis_size(axis_name) == 1
