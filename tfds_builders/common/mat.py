"""MATLAB files: version 5 by SciPy, version 7.3, which is HDF5, by h5py."""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from fal_jax.errors import InputError
from tfds_builders.common.files import check_download

# What SciPy raises on files that are damaged or not MATLAB's: it trusts any size the bytes claim.
_READ_ERRORS = (
  OSError,
  ValueError,
  TypeError,
  KeyError,
  IndexError,
  EOFError,
  OverflowError,
  MemoryError,
  AttributeError,
  struct.error,
  zlib.error,
  MatReadError,
)

# HDF5 shares a file's state among all who have it open: closing it in one thread would break reads
# in another.
_HDF5 = threading.Lock()


def read_mat(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads variables of a MATLAB file of version 5 or older as they are.

  Args:
    path: the file.
    names: variables that are wanted; others are not read.

  Returns:
    The variables by name: matrices (rows, columns), cells as object arrays.

  Raises:
    InputError: the file cannot be read, is of version 7.3, truncated, not MATLAB's, or lacks a
      variable.
  """
  check_download(path)

  try:
    variables = scipy.io.loadmat(path, variable_names=list(names))
  except NotImplementedError as error:
    raise InputError(f"{path} is a MATLAB 7.3 file, expected version 5: wrong file?") from error
  except _READ_ERRORS as error:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    raise InputError(
      f"{path} is not a readable MATLAB file, or is truncated ({reason}): download it again."
    ) from error

  if missing := [name for name in names if name not in variables]:
    raise _lacking(path, missing, (name for name, *_ in scipy.io.whosmat(path)))
  return {name: variables[name] for name in names}


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


@contextlib.contextmanager
def open_mat73(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Any]:
  """Opens a MATLAB file of version 7.3, in one thread at a time.

  Read it by `matrix`, `cells` and `cell`.

  Args:
    path: the file.
    names: variables that must be there.

  Yields:
    The `h5py.File`.

  Raises:
    InputError: h5py is not installed, or the file cannot be read, is of another version, truncated,
      not MATLAB's, or lacks a variable.
  """
  start = check_download(path)
  try:
    import h5py
  except ImportError as error:
    raise InputError(
      f"{path} requires h5py: `pip install 'fal_jax[datasets]'` installs it."
    ) from error

  with _HDF5, contextlib.ExitStack() as stack:
    try:
      file = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
      if start.startswith(b"MATLAB 5"):
        raise InputError(f"{path} is a MATLAB 5 file, expected version 7.3: wrong file?") from error
      reason = " ".join(str(error).split()).rstrip(".")
      raise InputError(
        f"{path} is not a readable MATLAB 7.3 file, or is truncated ({reason}): download it again."
      ) from error

    if missing := [name for name in names if not isinstance(file.get(name), h5py.Dataset)]:
      raise _lacking(path, missing, (name for name in file if not name.startswith("#")))
    yield file


def matrix(dataset: Any) -> np.ndarray:
  """An array as MATLAB has it, (rows, columns, ...): HDF5 stores the axes in reverse order.

  Args:
    dataset: a dataset of an opened file.

  Returns:
    The array.

  Raises:
    InputError: the bytes are damaged.
  """
  try:
    return np.asarray(dataset[()]).T
  except (OSError, RuntimeError) as error:
    raise InputError(
      f"{dataset.file.filename}: {dataset.name} is damaged ({error}): fetch the file again."
    ) from error


def cells(file: Any, name: str) -> np.ndarray:
  """The references of a cell array with one row or column, for `cell`.

  Args:
    file: from `open_mat73`.
    name: name of the variable.

  Returns:
    (N,) references.

  Raises:
    InputError: it is not such a cell array, or is damaged.
  """
  import h5py

  references = matrix(file[name])
  holds_references = h5py.check_ref_dtype(file[name].dtype) is h5py.Reference
  if not holds_references or references.ndim != 2 or 1 not in references.shape:
    shape = " x ".join(map(str, references.shape))
    raise InputError(
      f"{file.filename}: {name} is not a cell array of one row or column "
      f"but {references.dtype}, {shape}."
    )
  return references.ravel()


def cell(file: Any, reference: Any) -> Any | None:
  """The dataset in a cell; None where there is none to be found."""
  try:
    target = file[reference] if reference else None
  except (ValueError, KeyError, RuntimeError):  # it points to nothing
    return None
  return target if hasattr(target, "dtype") else None


def _lacking(
  path: str | os.PathLike[str], missing: Sequence[str], present: Iterable[str]
) -> InputError:
  """The error for a file without some of its variables."""
  wanted = ", ".join(map(repr, missing))
  there = ", ".join(present) or "none"
  return InputError(f"{path} has no variable {wanted}; it has {there}: wrong file?")
