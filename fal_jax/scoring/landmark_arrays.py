"""Landmarks as NumPy arrays: an .npz with `landmarks` (N, K, 2) and ids, or a bare .npy."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fal_jax.errors import InputError
from fal_jax.scoring.faces import LandmarkFile

NAMES = ("landmarks", "ids", "names", "visible", "box", "subsets", "subset_names")


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

  ids = arrays.get("ids", arrays.get("names"))
  if ids is not None and ids.dtype.kind not in "SUiu":
    raise InputError(f"{path}: ids must be texts, got {ids.dtype}.")
  for name in ("visible", "box"):
    if name in arrays and arrays[name].dtype.kind not in "fiub":
      raise InputError(f"{path}: `{name}` must be numbers, got {arrays[name].dtype}.")

  return LandmarkFile(
    path,
    None if ids is None else _texts(ids),
    landmarks.astype(np.float64),
    visible=arrays["visible"].astype(bool) if "visible" in arrays else None,
    boxes=arrays["box"].astype(np.float64) if "box" in arrays else None,
    subsets=_subsets(path, len(landmarks), arrays) if "subsets" in arrays else None,
  )


def _load(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
  """The arrays that have a meaning here, by name."""
  try:
    if path.suffix.lower() != ".npz":
      return {"landmarks": np.load(path, allow_pickle=False, mmap_mode=None)}

    with zipfile.ZipFile(path) as archive:
      size = sum(member.file_size for member in archive.infolist())
    if size > max_bytes:
      raise InputError(
        f"{path} unpacks to {size:,} bytes, more than {max_bytes:,}: it does not hold landmarks, "
        "or must be split."
      )

    with np.load(path, allow_pickle=False) as file:
      return {name: np.asarray(file[name]) for name in NAMES if name in file.files}
  except InputError:
    raise  # ours, which is a ValueError too
  except (
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    MemoryError,
    AttributeError,
  ) as error:
    reason = " ".join(str(error).split()).rstrip(".")
    if "pickle" in reason:
      reason = "Python objects are not read"
    raise InputError(
      f"{path} cannot be read ({reason}): write it with np.savez(path, landmarks=..., ids=...)."
    ) from error


def _subsets(path: Path, count: int, arrays: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
  """N tuples of names, from texts (N,) or from flags (N, S) beside names (S,)."""
  subsets, names = arrays["subsets"], arrays.get("subset_names")
  if subsets.shape == (count,) and subsets.dtype.kind in "SU":
    return [tuple(text.split()) for text in _texts(subsets)]

  texts = [] if names is None or names.ndim != 1 else _texts(names)
  if texts and subsets.shape == (count, len(texts)) and subsets.dtype.kind == "b":
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
