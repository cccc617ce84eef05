"""Landmarks as JSON: {"id": [[x, y], ...], ...}, or a list of faces with further keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fal_jax.errors import InputError, cut, join_names
from fal_jax.parsing import plain_json
from fal_jax.scoring.faces import LandmarkFile


class _Pairs(list):
  """A JSON object as its pairs: `dict` would silently keep the last of two equal keys."""


def read(path: Path) -> LandmarkFile:
  """Reads (N, K, 2) landmarks and the optional keys; see `landmark_files` for the format."""
  faces = _read_faces(path)
  if odd := [face["id"] for face in faces if type(face["id"]) not in (str, int)]:
    raise InputError(f"{path}: ids must be texts, got {cut(repr(odd[0]))}.")
  ids = [str(face["id"]) for face in faces]
  landmarks = [
    _points(path, name, face["landmarks"]) for name, face in zip(ids, faces, strict=True)
  ]

  num = len(landmarks[0])
  if odd := [name for name, points in zip(ids, landmarks, strict=True) if len(points) != num]:
    raise InputError(
      f"{path}: {cut(ids[0])} has {num} landmarks, but not {join_names(odd)}: all faces need "
      "the same number of landmarks."
    )

  visible, boxes, subsets = (_column(path, faces, key) for key in ("visible", "box", "subsets"))
  try:
    texts = [text if isinstance(text, str) else " ".join(text) for text in subsets or []]
    return LandmarkFile(
      path,
      ids,
      np.stack(landmarks),
      visible=None if visible is None else np.array(visible, bool),
      boxes=None if boxes is None else np.array(boxes, np.float64),
      subsets=[tuple(text.split()) for text in texts] or None,
    )
  except (TypeError, ValueError, OverflowError) as error:
    raise InputError(
      f"{path}: visible, box or subsets are not lists of equal length ({cut(str(error))})."
    ) from error


def _read_faces(path: Path) -> list[dict[str, Any]]:
  """At least one face, each with `id` and `landmarks`."""
  try:
    content = plain_json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
  except UnicodeDecodeError:
    raise  # a ValueError too
  except ValueError as error:  # also for numbers of thousands of digits
    reason = cut(" ".join(str(error).split()), length=120)
    raise InputError(f"{path} is not a JSON file ({reason}).") from error

  if tool := _other_tool(content):
    raise InputError(
      f"{path} looks like {tool}, which is not read: write "
      '{"id": [[x, y], ...], ...} with the paths of the images as ids.'
    )
  faces: list[dict[str, Any]] = []
  if isinstance(content, _Pairs):
    faces = [{"id": name, "landmarks": points} for name, points in content]
  elif isinstance(content, list):
    faces = [dict(face) if isinstance(face, _Pairs) else {} for face in content]

  if not faces or not all({"id", "landmarks"} <= face.keys() for face in faces):
    raise InputError(
      f'{path} must be {{"id": [[x, y], ...], ...}} or a list of '
      '{"id": ..., "landmarks": [[x, y], ...]}.'
    )
  return faces


def _other_tool(content: Any) -> str | None:
  """What has probably written a file that is not in our format."""
  is_pairs = isinstance(content, _Pairs)
  keys = {name for name, _ in content} if is_pairs else set()
  first: Any = content[0] if isinstance(content, list) and content and not is_pairs else None
  keys_of_first = {name for name, _ in first} if isinstance(first, _Pairs) else set()
  signs: Mapping[str, bool] = {
    "mmpose's output": bool({"meta_info", "instance_info"} & keys)
    or bool({"instances", "keypoint_scores"} & keys_of_first),
    "a COCO dataset": {"images", "annotations"} <= keys,
    "COCO's results": {"image_id", "keypoints"} <= keys_of_first,
    "labelme's annotation": {"shapes", "imagePath"} <= keys,
  }
  return next((tool for tool, is_it in signs.items() if is_it), None)


def _points(path: Path, name: str, value: Any) -> np.ndarray:
  """The landmarks (K, 2) float64 of one face."""
  try:
    if any(isinstance(number, (str, bool)) for point in value for number in point):
      raise TypeError("a text")
    points = np.array(value, np.float64)  # null becomes NaN
  except (TypeError, ValueError, OverflowError):
    points = np.empty(0)

  if points.ndim == 2 and points.shape[-1] == 3:
    raise InputError(
      f"{path}: the landmarks of {cut(name)} have three numbers each: write [x, y] alone, in "
      "pixels of the image (the third is a depth in MediaPipe's, a visibility in COCO's)."
    )
  if points.ndim != 2 or points.shape[-1] != 2 or not len(points):
    raise InputError(
      f"{path}: the landmarks of {cut(name)} are not a list of [x, y], two numbers each: "
      f"{cut(str(value))}."
    )
  return points


def _column(path: Path, faces: list[dict[str, Any]], key: str) -> list[Any] | None:
  """What each face has under an optional key; None where none has it."""
  values = [face[key] for face in faces if key in face]
  if values and len(values) != len(faces):
    raise InputError(
      f"{path}: {len(values)} of {len(faces)} faces have {key!r}: give it for all of them or for "
      "none."
    )
  return values or None
