"""MATLAB files: version 5 by SciPy, version 7.3, which is HDF5, by h5py.

Both are read in another process, since a damaged byte may crash them: see `mat_reader`.
"""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fal_jax.errors import InputError
from fal_jax.parsing import isolated
from tfds_builders.common.files import check_download

_READER = "tfds_builders.common.mat_reader"


class CellKind(NamedTuple):
  """What a cell holds, without its values.

  Attributes:
    dtype: NumPy's name of its type.
    shape: as MATLAB shows it, (rows, columns, ...).
  """

  dtype: str
  shape: tuple[int, ...]


def read_mat(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads variables of a MATLAB file of version 5 or older as they are.

  Args:
    path: the file.
    names: variables that are wanted; others are not read.

  Returns:
    The variables by name: matrices (rows, columns), cells as object arrays; structures, which
    nobody here needs, as object arrays of None.

  Raises:
    InputError: the file cannot be read, is of version 7.3, truncated, not MATLAB's, or lacks a
      variable.
  """
  check_download(path)
  return _call("variables", path, list(names), version="")


def read_mat73(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads variables of a MATLAB file of version 7.3.

  Args:
    path: the file.
    names: variables that are wanted.

  Returns:
    The variables by name, as MATLAB has them: (rows, columns, ...).

  Raises:
    InputError: h5py is not installed, or the file cannot be read, is of another version, truncated,
      not MATLAB's, or lacks a variable.
  """
  return _call_73("variables_73", path, list(names))


def read_cell_kinds(path: str | os.PathLike[str], name: str) -> list[CellKind | None]:
  """What the cells hold of a cell array with one row or column, in a file of version 7.3.

  Args:
    path: the file.
    name: name of the variable.

  Returns:
    One for each cell, None where nothing is to be found.

  Raises:
    InputError: as `read_mat73`, or it is not such a cell array.
  """
  kinds = _call_73("cell_kinds", path, name)
  return [None if kind is None else CellKind(kind[0], tuple(kind[1])) for kind in kinds]


def read_cell(path: str | os.PathLike[str], name: str, index: int) -> np.ndarray:
  """The array in one cell of such a cell array, as MATLAB has it.

  Args:
    path: the file.
    name: name of the variable.
    index: number of the cell, from 0.

  Returns:
    The array.

  Raises:
    InputError: as `read_cell_kinds`, or the cell holds nothing, or is damaged.
  """
  return _call_73("cell", path, name, index)


def numbers(value: np.ndarray, shape: tuple[int | None, ...], *, what: str) -> np.ndarray:
  """A matrix of numbers, checked.

  Args:
    value: as `read_mat` gives it.
    shape: expected; None where any size will do.
    what: how messages call it, with its file.

  Returns:
    The same values as float64, of that shape.

  Raises:
    InputError: it is not a matrix of real numbers, or of another shape.
  """
  if value.dtype.kind not in "iufb":
    raise InputError(f"{what} holds {value.dtype}, expected numbers.")
  if value.ndim != len(shape) or any(
    want not in (None, got) for want, got in zip(shape, value.shape, strict=True)
  ):
    expected = " x ".join("any" if want is None else str(want) for want in shape)
    raise InputError(f"{what} is {' x '.join(map(str, value.shape))}, expected {expected}.")
  return value.astype(np.float64)


def _call_73(function: str, path: str | os.PathLike[str], *args: Any) -> Any:
  """`_call` for version 7.3."""
  check_download(path)
  if importlib.util.find_spec("h5py") is None:
    raise InputError(f"{path} requires h5py: `pip install 'fal_jax[datasets]'` installs it.")
  return _call(function, path, *args, version=" 7.3")


def _call(function: str, path: str | os.PathLike[str], *args: Any, version: str) -> Any:
  """Calls a function of the reader in the other process."""
  try:
    return isolated.call(f"{_READER}:{function}", os.fspath(path), *args)
  except isolated.Failed as failed:
    raise InputError(
      f"{path} is not a readable MATLAB{version} file, or is truncated or damaged ({failed}): "
      "download it again."
    ) from failed
