"""MATLAB files: version 5 by SciPy."""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from fal_jax.errors import InputError

# What SciPy raises on files that are damaged or none: it unpacks whatever the bytes say.
_READ_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError, AttributeError, struct.error,
    zlib.error, MatReadError,
)


def read_mat(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads variables of a MATLAB file of version 5 or older as they are: matrices (rows, columns), cells as object arrays.

  Args:
    path: the file.
    names: of the variables that are wanted; others are not read.

  Returns:
    The variables by name.

  Raises:
    InputError: the file cannot be read, is of version 7.3, cut short, none of MATLAB's, or lacks a variable.
  """
  try:
    start = Path(path).open("rb").read(512)  # noqa: SIM115
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
  if not start:
    raise InputError(f"{path} is empty (an interrupted download?): fetch it again.")
  if start.lower().lstrip().startswith((b"<!doctype html", b"<html")):
    raise InputError(f"{path} is a web page (a login or error page?): download it again.")
  try:
    variables = scipy.io.loadmat(path, variable_names=list(names))
  except NotImplementedError as error:
    raise InputError(f"{path} is a MATLAB 7.3 file, expected version 5: is it another file of that name?") from error
  except _READ_ERRORS as error:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    raise InputError(f"{path} is no MATLAB file that can be read, or is cut short ({reason}): fetch it again.") from error
  if missing := [name for name in names if name not in variables]:
    there = ", ".join(name for name, *_ in scipy.io.whosmat(path)) or "none"
    raise InputError(f"{path} has no variable {', '.join(map(repr, missing))}; it has {there}: is it another file of that name?")
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
  if value.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, value.shape, strict=True)):
    expected = " x ".join("any" if want is None else str(want) for want in shape)
    raise InputError(f"{what} is {' x '.join(map(str, value.shape))}, expected {expected}.")
  return value.astype(np.float64)
