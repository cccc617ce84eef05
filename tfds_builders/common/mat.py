"""MATLAB files: version 5 by SciPy, version 7.3, which is HDF5, by h5py."""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from fal_jax.errors import InputError

# What SciPy raises on files that are damaged or none: it unpacks whatever the bytes say.
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

# HDF5 shares what it knows of a file among all who have it open: closing it in one thread would
# spoil another's reading.
_HDF5 = threading.Lock()


def read_mat(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads variables of a MATLAB file of version 5 or older as they are: matrices (rows, columns),
  cells as object arrays.

  Args:
    path: the file.
    names: of the variables that are wanted; others are not read.

  Returns:
    The variables by name.

  Raises:
    InputError: the file cannot be read, is of version 7.3, cut short, none of MATLAB's, or lacks a
      variable.
  """
  _start(path)
  try:
    variables = scipy.io.loadmat(path, variable_names=list(names))
  except NotImplementedError as error:
    raise InputError(
      f"{path} is a MATLAB 7.3 file, expected version 5: is it another file of that name?"
    ) from error
  except _READ_ERRORS as error:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    raise InputError(
      f"{path} is no MATLAB file that can be read, or is cut short ({reason}): fetch it again."
    ) from error
  if missing := [name for name in names if name not in variables]:
    there = ", ".join(name for name, *_ in scipy.io.whosmat(path)) or "none"
    raise InputError(
      f"{path} has no variable {', '.join(map(repr, missing))}; it has {there}: is it another file of that name?"
    )
  return {name: variables[name] for name in names}


def numbers(value: np.ndarray, shape: tuple[int | None, ...], *, what: str) -> np.ndarray:
  """A matrix of numbers as float64, checked.

  Args:
    value: as `read_mat` gives it.
    shape: expected; None where any size will do.
    what: how messages call it, with its file.

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
  """Opens a MATLAB file of version 7.3, in one thread at a time; read it by `matrix`, `cells` and
  `cell`.

  Args:
    path: the file.
    names: of the variables that must be there.

  Yields:
    The `h5py.File`.

  Raises:
    InputError: h5py is not installed, or the file cannot be read, is of another version, cut short,
      none of MATLAB's, or lacks a variable.
  """
  start = _start(path)
  try:
    import h5py
  except ImportError as error:
    raise InputError(
      f"{path} takes h5py to read: `pip install 'fal_jax[datasets]'` installs it."
    ) from error
  with _HDF5, contextlib.ExitStack() as stack:
    try:
      file = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
      if start.startswith(b"MATLAB 5"):
        raise InputError(
          f"{path} is a MATLAB 5 file, expected version 7.3: is it another file of that name?"
        ) from error
      reason = " ".join(str(error).split()).rstrip(".")
      raise InputError(
        f"{path} is no MATLAB 7.3 file that can be read, or is cut short ({reason}): fetch it again."
      ) from error
    if missing := [name for name in names if not isinstance(file.get(name), h5py.Dataset)]:
      there = ", ".join(name for name in file if not name.startswith("#")) or "none"
      wanted = ", ".join(map(repr, missing))
      raise InputError(
        f"{path} has no variable {wanted}; it has {there}: is it another file of that name?"
      )
    yield file


def matrix(dataset: Any) -> np.ndarray:
  """An array as MATLAB has it, (rows, columns, ...): HDF5 stores the axes the other way round.

  Args:
    dataset: of an opened file.

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
  """(N,) references of a cell array with one row or column, for `cell`.

  Args:
    file: from `open_mat73`.
    name: of the variable.

  Raises:
    InputError: it is not such a cell array, or is damaged.
  """
  import h5py

  references = matrix(file[name])
  if (
    h5py.check_ref_dtype(file[name].dtype) is not h5py.Reference
    or references.ndim != 2
    or 1 not in references.shape
  ):
    shape = " x ".join(map(str, references.shape))
    raise InputError(
      f"{file.filename}: {name} is not a cell array of one row or column but {references.dtype}, {shape}."
    )
  return references.ravel()


def cell(file: Any, reference: Any) -> Any | None:
  """The dataset in a cell; None where there is none to be found."""
  try:
    target = file[reference] if reference else None
  except (ValueError, KeyError, RuntimeError):  # it points to nothing
    return None
  return target if hasattr(target, "dtype") else None


def _start(path: str | os.PathLike[str]) -> bytes:
  """The first bytes of a file that is not obviously something else."""
  try:
    with Path(path).open("rb") as file:
      start = file.read(512)
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  if not start:
    raise InputError(f"{path} is empty (an interrupted download?): fetch it again.")
  if start.lower().lstrip().startswith((b"<!doctype html", b"<html")):
    raise InputError(f"{path} is a web page (a login or error page?): download it again.")
  return start
