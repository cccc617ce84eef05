"""Names and shapes of the arrays in a tree, compared in one sentence."""

from pathlib import Path
from typing import Any

import jax

from fal_jax.errors import InputError


def check(saved: Any, wanted: Any, *, where: Path) -> None:
  """Reports a checkpoint of a different network in one sentence, not in orbax's hundred lines.

  Args:
    saved: tree of what was saved; its leaves have a shape.
    wanted: tree of what the network expects; its leaves have a shape.
    where: folder of the checkpoint.

  Raises:
    InputError: names or shapes differ.
    ValueError: the checkpoint does not list its arrays.
  """
  before, after = _shapes(saved), _shapes(wanted)
  if not before:
    raise ValueError("the list of its arrays is missing")

  different = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
  if different:
    # A parameter says more than the optimiser's state.
    name = min(different, key=lambda name: not name.startswith("params/"))
    raise InputError(
      f"The checkpoint {where} was saved by a different network: "
      f"{name} has shape {before.get(name)} in the checkpoint and {after.get(name)} in this config "
      f"({len(different)} arrays differ in all); "
      "use the config it was trained with, or another --workdir."
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Name, such as "params/conv1/kernel" -> shape."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {"/".join(map(_key_name, path)): tuple(leaf.shape) for path, leaf in leaves}


def _key_name(key: Any) -> str:
  """The name of one step of a path into a tree, whichever kind of key JAX or orbax uses."""
  for attribute in ("key", "name", "idx"):
    if hasattr(key, attribute):
      return str(getattr(key, attribute))
  return str(key)
