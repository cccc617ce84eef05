"""What reads MATLAB files, in the process of `fal_jax.parsing.isolated`: C that believes each byte.

SciPy's reader of version 5 crashes on single damaged bytes. `mat` has these functions called there.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.io

from fal_jax.errors import InputError, cut, join_names
from fal_jax.parsing import limits

_MATLAB_5 = b"MATLAB 5"


def variables(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
  """`mat.read_mat`."""
  try:
    found = scipy.io.loadmat(path, variable_names=list(names))
  except NotImplementedError as error:
    raise InputError(f"{path} is a MATLAB 7.3 file, expected version 5: wrong file?") from error
  if missing := [name for name in names if name not in found]:
    raise _lacking(path, missing, (name for name, *_ in scipy.io.whosmat(path)))
  return {name: found[name] for name in names}


def variables_73(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
  """`mat.read_mat73`."""
  with _open_73(path, names) as file:
    return {name: _array(file[name]) for name in names}


def cell_kinds(path: str, name: str) -> list[tuple[str, list[int]] | None]:
  """`mat.read_cell_kinds`."""
  with _open_73(path, [name]) as file:
    targets = [_target(file, reference) for reference in _references(path, file, name)]
    return [
      None if target is None else (str(target.dtype), list(target.shape[::-1]))
      for target in targets
    ]


def cell(path: str, name: str, index: int) -> np.ndarray:
  """`mat.read_cell`."""
  with _open_73(path, [name]) as file:
    target = _target(file, _references(path, file, name)[index])
    if target is None:
      raise InputError(f"{path}: {name}{{{index + 1}}} holds nothing.")
    return _array(target)


@contextlib.contextmanager
def _open_73(path: str, names: Sequence[str]) -> Iterator[Any]:
  """The `h5py.File`, which has these variables."""
  import h5py

  try:
    opened = h5py.File(path, "r")
  except OSError as error:
    with open(path, "rb") as stream:
      start = stream.read(len(_MATLAB_5))
    if start == _MATLAB_5:
      raise InputError(f"{path} is a MATLAB 5 file, expected version 7.3: wrong file?") from error
    raise

  with opened as file:
    if missing := [name for name in names if not isinstance(file.get(name), h5py.Dataset)]:
      raise _lacking(path, missing, (name for name in file if not name.startswith("#")))
    yield file


def _array(dataset: Any) -> np.ndarray:
  """An array as MATLAB has it, (rows, columns, ...): HDF5 stores the axes in reverse order."""
  if dataset.nbytes > limits.ISOLATED_BYTES:
    raise MemoryError
  try:
    return np.asarray(dataset[()]).T
  except (OSError, RuntimeError) as error:
    file, name = dataset.file.filename, cut(str(dataset.name))
    reason = cut(str(error), length=limits.MAX_MESSAGE // 4)
    raise InputError(f"{file}: {name} is damaged ({reason}): fetch the file again.") from error


def _references(path: str, file: Any, name: str) -> np.ndarray:
  """(N,) references of a cell array with one row or column."""
  import h5py

  dataset = file[name]
  references = _array(dataset)
  holds_references = h5py.check_ref_dtype(dataset.dtype) is h5py.Reference
  if not holds_references or references.ndim != 2 or 1 not in references.shape:
    shape = " x ".join(map(str, references.shape))
    raise InputError(
      f"{path}: {name} is not a cell array of one row or column but {references.dtype}, {shape}."
    )
  return references.ravel()


def _target(file: Any, reference: Any) -> Any | None:
  """The dataset in a cell; None where there is none to be found."""
  try:
    target = file[reference] if reference else None
  except (ValueError, KeyError, RuntimeError):  # it points to nothing
    return None
  return target if hasattr(target, "dtype") and hasattr(target, "shape") else None


def _lacking(path: str, missing: Sequence[str], present: Iterable[str]) -> InputError:
  """The error for a file without some of its variables."""
  wanted = ", ".join(map(repr, missing))
  there = join_names(list(present)) or "none"
  return InputError(f"{path} has no variable {wanted}; it has {there}: wrong file?")
