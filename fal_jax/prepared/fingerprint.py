"""Which faces a split holds, in which order: what a run must find again when it resumes."""

import hashlib
import json
import os
import time
import urllib.parse
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from absl import logging

from fal_jax.output import bucket, seal
from fal_jax.output.folders import write_atomic
from fal_jax.prepared import split_names

if TYPE_CHECKING:
  from fal_jax.prepared.split import PreparedSplit  # and with it TFDS

_AT_ONCE = 256  # records in memory
_ANNOTATION = ("landmarks", "visible", "box_dataset", "box_landmarks")
# Some file systems count whole seconds: a file may change once more without a later time.
_SETTLED = 10.0  # s

_DIGESTS = ("names", "order", "content")


def of_split(source: "PreparedSplit") -> dict[str, Any]:
  """The fingerprint of a split.

  To compute it every record is read, a quarter of a millisecond for each face, and the whole split
  if it is in a bucket. So the digests are kept beside the dataset's files, in
  `fingerprint.<split>.json`, with the name, size and times of each file that they are of, and hold
  as long as none of these changes. Whoever writes to a file, or puts another in its place, changes
  its times: the last change of its status cannot be set. What is kept has a seal; without one that
  fits, and where nothing can be kept, the records are read.

  Args:
    source: from `data.open_split`.

  Returns:
    A mapping ready for JSON: name, configuration and version of the builder, the split, whether
    the dataset is known to be partial, the number of faces, and three digests: of their names, of
    the names in their order, and of the image files (size and CRC-32) with all annotations.
  """
  info = source.builder.info
  about = {
    "dataset": source.name,
    "split": source.split,
    "builder_version": str(info.version),
    "partial": bool((info.metadata or {}).get("partial")),
    "faces": len(source),
  }
  folder = source.builder.data_path
  path = folder / f"fingerprint.{urllib.parse.quote(source.split, safe='')}.json"
  files = _files(source)
  digests = _kept(path, {**about, "files": files})
  if digests is None:
    digests = compute(source)
    if files == _files(source) and _are_settled(files):
      _keep(path, {**about, "files": files, **digests})
  return {**about, **digests}


def compute(source: "PreparedSplit") -> dict[str, str]:
  """The digests of a split; every record is read once, no image is decoded.

  Args:
    source: from `data.open_split`.

  Returns:
    `names`, `order` and `content`, see `of_split`.
  """
  faces = [
    _face(record)
    for start in range(0, len(source), _AT_ONCE)
    for record in source.serialized(start, min(start + _AT_ONCE, len(source)))
  ]
  return {
    "names": _digest(sorted(name for name, _ in faces)),
    "order": _digest([name for name, _ in faces]),
    "content": _digest(sorted(name + content for name, content in faces)),
  }


def difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """What differs between two fingerprints.

  Args:
    saved: of the dataset that a run began with.
    now: of the dataset that is there.

  Returns:
    "has 9 faces and had 12", to follow the name of the dataset; empty if nothing does.
  """
  if saved["faces"] != now["faces"]:
    return f"has {now['faces']:,} faces and had {saved['faces']:,}"
  if saved["names"] != now["names"]:
    return "has as many faces, but others"
  if saved["order"] != now["order"]:
    return "has the same faces in another order"
  if saved["content"] != now["content"]:
    return "has faces of the same names, but other images, landmarks or boxes"
  if saved["builder_version"] != now["builder_version"]:
    return (
      f"is of version {now['builder_version']} of its builder and was of {saved['builder_version']}"
    )
  return ""


def _face(record: bytes) -> tuple[str, str]:
  """A face's name, and a digest of what else its record holds that training uses."""
  from tensorflow_datasets.proto import tf_example_pb2  # its parser of features is ten times slower

  features = tf_example_pb2.Example.FromString(record).features.feature
  name = features["file_name"].bytes_list.value[0].decode()
  image = features["image"].bytes_list.value[0]
  content = hashlib.sha256(f"{len(image)} {zlib.crc32(image)}".encode())
  for key in _ANNOTATION:
    content.update(features[key].SerializeToString(deterministic=True))
  return f"{name}#{features['face_index'].int64_list.value[0]}", content.hexdigest()


def _digest(lines: list[str]) -> str:
  """SHA-256 over texts, hexadecimal."""
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files(source: "PreparedSplit") -> list[list[Any]]:
  """Name, size and times of the files that a split is read from.

  Returns:
    For each its name, bytes, and ns since 1970 of the last change of its content and of its status,
    which a bucket's objects, never changed but replaced, do not have.
  """
  files = []
  for base in dict.fromkeys(split_names.bases(source.split)):
    for path in source.builder.info.splits[base].filepaths:
      if bucket.is_address(path):
        there = path.stat()
        times = [there.mtime * 10**9]
        size = there.length
      else:
        status = os.stat(path)
        times, size = [status.st_mtime_ns, status.st_ctime_ns], status.st_size
      files.append([os.path.basename(path), size, *times])
  return files


def _are_settled(files: list[list[Any]]) -> bool:
  """Whether the next change of each file will show in its times, see `_files`."""
  now = time.time_ns()
  return all(0 < each <= now - _SETTLED * 10**9 for _, _, *times in files for each in times)


def _kept(path: Path, expected: Mapping[str, Any]) -> dict[str, str] | None:
  """The digests that are kept beside a dataset; None where they are not of these files, or damaged.

  Args:
    path: where they are.
    expected: what they must be of.
  """
  try:
    kept = json.loads(path.read_bytes())
    fits = seal.is_intact(kept) and all(kept[key] == value for key, value in expected.items())
    return {name: kept[name] for name in _DIGESTS} if fits else None
  # No file, no JSON, another kind of JSON, or whatever the client of a bucket raises.
  except Exception:  # noqa: BLE001
    return None


def _keep(path: Path, content: Mapping[str, Any]) -> None:
  """Keeps digests for the next start, where that is possible."""
  if bucket.is_address(path) and jax.process_index():
    return  # one object, which a pod's processes had better not write all at once
  try:
    write_atomic(path, json.dumps(seal.sealed(content), indent=1) + "\n")
  # A read-only or full disk, another process that was faster, or whatever the client of a bucket
  # raises: the next start computes them once more.
  except Exception as error:  # noqa: BLE001
    logging.info("%s is not kept: %s", path, error)
