"""Landmarks as NumPy arrays: an .npz with `landmarks` (N, K, 2) and ids, or a bare .npy."""

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from fal_jax.scoring.faces import LandmarkFile

NAMES = ("landmarks", "ids", "names", "visible", "box", "subsets", "subset_names")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_ENCRYPTED = 0x1  # flag of a member

# What NumPy, and what it evaluates headers with, raise on files that are damaged.
_DAMAGE = (
  ValueError,
  TypeError,
  LookupError,
  ArithmeticError,
  AttributeError,
  SyntaxError,
  EOFError,
  MemoryError,
  RecursionError,
  NotImplementedError,
  struct.error,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
)


def read(path: Path, *, max_bytes: int) -> LandmarkFile:
  """Reads (N, K, 2) landmarks and the optional arrays; see `landmark_files` for the format.

  Args:
    path: the file to read.
    max_bytes: an archive that unpacks to more is refused before it is unpacked.

  Returns:
    What the file holds.
  """
  arrays = _load(path, max_bytes)

  landmarks = arrays.get("landmarks", np.empty(0))
  if landmarks.dtype.kind not in "fiu":
    raise InputError(f"{path}: `landmarks` must be numbers, got {landmarks.dtype}.")
  if "landmarks" not in arrays:
    raise InputError(f"{path} has no array `landmarks` (N, K, 2).")

  if landmarks.size * np.dtype(np.float64).itemsize > max_bytes:  # bytes and halves grow
    raise InputError(
      f"{path} holds {landmarks.size:,} numbers, more than {max_bytes:,} bytes of memory hold: it "
      "does not hold landmarks, or must be split."
    )

  ids = arrays.get("ids", arrays.get("names"))
  if ids is not None and (ids.dtype.kind not in "SUiu" or ids.ndim != 1):
    raise InputError(f"{path}: ids must be texts (N,), got {ids.dtype} {ids.shape}.")
  for name in ("visible", "box"):
    if name in arrays and arrays[name].dtype.kind not in "fiub":
      raise InputError(f"{path}: `{name}` must be numbers, got {arrays[name].dtype}.")

  return LandmarkFile(
    path,
    None if ids is None else _texts(ids),
    _float64(landmarks),
    visible=arrays["visible"].astype(bool) if "visible" in arrays else None,
    boxes=_float64(arrays["box"]) if "box" in arrays else None,
    subsets=_subsets(path, landmarks.shape[:1], arrays) if "subsets" in arrays else None,
  )


def _float64(array: np.ndarray) -> np.ndarray:
  """Numbers of any shape as float64; what is beyond its range becomes infinite."""
  with np.errstate(over="ignore", invalid="ignore"):
    return array.astype(np.float64)


def _load(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
  """The arrays that have a meaning here, by name."""
  try:
    if path.suffix.lower() != ".npz":
      with path.open("rb") as file:
        return {"landmarks": _read_array(file, path.stat().st_size)}

    with zipfile.ZipFile(path) as archive:
      members = {member.filename: member for member in archive.infolist()}
      _check_members(path, archive.infolist(), max_bytes)
      arrays = {}
      for name in NAMES:
        if member := members.get(f"{name}.npy"):
          with archive.open(member) as file:
            arrays[name] = _read_array(file, member.file_size)
      return arrays
  except InputError:
    raise  # ours, which is a ValueError too
  except _DAMAGE as error:
    text = str(error.args[0]) if error.args else type(error).__name__
    reason = cut(" ".join(text.split()).rstrip("."), length=120)
    if "pickle" in reason or "Object arrays" in reason:
      reason = "Python objects are not read"
    raise InputError(
      f"{path} cannot be read ({reason}): write it with np.savez(path, landmarks=..., ids=...)."
    ) from error


def _check_members(path: Path, members: list[zipfile.ZipInfo], max_bytes: int) -> None:
  """Refuses an archive that is too large or that NumPy has not written, before it is unpacked."""
  size = sum(member.file_size for member in members)
  if size > max_bytes:
    raise InputError(
      f"{path} unpacks to {size:,} bytes, more than {max_bytes:,}: it does not hold landmarks, "
      "or must be split."
    )
  limits.check_ratio(size, path.stat().st_size, what=f"{path}: its arrays")
  for member in members:
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _COMPRESSIONS:
      how = "is encrypted" if member.flag_bits & _ENCRYPTED else "is compressed in another way"
      raise InputError(
        f"{path} cannot be read ({cut(member.filename)} {how}): write it with np.savez(path, "
        "landmarks=..., ids=...)."
      )


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
  """An array of numbers or texts, read only if its header asks for no more than there is.

  Args:
    file: at the beginning of the array.
    size: bytes of the file.

  Returns:
    The array, of any shape.

  Raises:
    ValueError: it is damaged, or holds Python objects.
  """
  version = np.lib.format.read_magic(file)
  if version not in ((1, 0), (2, 0)):
    raise ValueError(f"version {version} of the format is not known")
  read_header = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, is_fortran, dtype = read_header(file)
  if dtype.hasobject:
    raise ValueError("it needs pickle")
  if any(length < 0 for length in shape):
    raise ValueError(f"its shape is {shape}")
  count = math.prod(shape)
  if dtype.itemsize * count > size or (count and not dtype.itemsize):
    raise ValueError(f"its shape is {shape}, and it has only {size:,} bytes")

  content = file.read(dtype.itemsize * count)
  flat = np.frombuffer(content, dtype, count) if count else np.empty(0, dtype)
  return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def _subsets(
  path: Path, count: tuple[int, ...], arrays: dict[str, np.ndarray]
) -> list[tuple[str, ...]]:
  """N tuples of names, from texts (N,) or from flags (N, S) beside names (S,)."""
  subsets, names = arrays["subsets"], arrays.get("subset_names")
  if subsets.shape == count and subsets.dtype.kind in "SU":
    return [tuple(text.split()) for text in _texts(subsets)]

  texts = [] if names is None or names.ndim != 1 else _texts(names)
  if texts and subsets.shape == (*count, len(texts)) and subsets.dtype.kind == "b":
    return [tuple(texts[k] for k in np.flatnonzero(row)) for row in subsets]
  raise InputError(
    f"{path}: `subsets` must be (N,) texts, or (N, S) bool beside `subset_names` (S,), got "
    f"{subsets.dtype} {subsets.shape}."
  )


def _texts(array: np.ndarray) -> list[str]:
  """The elements of an array of any shape, as str."""
  return [
    text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    for text in array.reshape(-1).tolist()
  ]
