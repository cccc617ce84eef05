"""A dataset of your own: images with landmarks, and a mark-up described in `markup.yaml`.

What the folder may look like is described in README.md beside this file.
"""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from fal_jax import custom_markup
from fal_jax.errors import InputError
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.validate import Face, Finding, listing
from tfds_builders.custom.annotation import Annotation, find_image
from tfds_builders.custom.coco import read_coco
from tfds_builders.custom.pairs import read_pairs
from tfds_builders.custom.splits import splits_of_images
from tfds_builders.custom.table import read_table

MARKUP_FILE = "markup.yaml"
TABLE = "landmarks.csv"
COCO = "annotations.json"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_HEADER_ERRORS = (
  UnidentifiedImageError,
  OSError,
  ValueError,
  SyntaxError,
  Image.DecompressionBombError,
)


@dataclasses.dataclass(eq=False)
class CustomConfig(tfds.core.BuilderConfig):
  """One dataset of a user's, under the name that its mark-up file gives it.

  Attributes:
    file: the mark-up file's path.
    content: what it says.
  """

  file: Path = dataclasses.field(kw_only=True)
  content: custom_markup.MarkupFile = dataclasses.field(kw_only=True)


class Builder(ManualFaceBuilder):
  """Builds a user's own dataset, `custom/NAME`.

  Whoever opens it by that name needs neither this module nor the mark-up file.
  """

  LICENSE = "The user's own."
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
      The folder holds {MARKUP_FILE}, which describes your landmarks, your images in images/, and
      the landmarks as {TABLE}, as {COCO} (COCO), or as a .pts file beside
      each image: see tfds_builders/custom/README.md.
      """
  MISSING_LANDMARKS = True

  @classmethod
  def config_from_folder(cls, manual_dir: Path) -> CustomConfig:
    file = manual_dir / MARKUP_FILE
    content = custom_markup.read_file(file)
    description = f"Landmarks of {content.name}."
    return CustomConfig(name=content.name, description=description, file=file, content=content)

  @property
  def num_landmarks(self) -> int:
    return self.builder_config.content.markup.num

  def extra_metadata(self) -> dict[str, Any]:
    return {"own_markup": custom_markup.to_dict(self.builder_config.content.markup)}

  def train_flags(self) -> str:
    return f"--config={shlex.quote(f'configs/custom.py:{self.builder_config.file}')}"

  def layout(self, downloads: Downloads) -> Layout:
    root = downloads.roots[0]
    content = self.builder_config.content
    findings: list[Finding] = []

    files = sorted(path for path in root.rglob("*") if not _is_hidden(path.relative_to(root)))
    images = [path for path in files if path.suffix.lower() in _IMAGE_SUFFIXES]
    annotations = _read(root, files, images, content, findings)
    faces_of_image = _by_image(root, annotations, findings)
    for name in (path.relative_to(root).as_posix() for path in images):
      if name not in faces_of_image:
        findings.append(Finding(name, "an image without landmarks, not used", "note"))

    split_of = splits_of_images(root, faces_of_image, findings) if faces_of_image else {}
    splits: dict[str, list[Face]] = {}
    for name, faces in sorted(faces_of_image.items()):
      if name in split_of:
        valid = _valid_faces(root / name, name, faces, findings)
        splits.setdefault(split_of[name], []).extend(valid)

    # Here rather than in `plan`, which takes a split without faces for one that is not there.
    empty = [split for split, faces in splits.items() if not faces]
    if self.skip_bad and empty:
      errors = [finding for finding in findings if finding.severity == "error"]
      raise InputError(
        f"{self.name}: every face of the split {empty[0]!r} is bad.\n{listing(errors)}"
      )
    _check_landmarks_occur(splits.get("train", []), content, findings)
    return Layout(splits, findings=findings)


def _is_hidden(path: Path) -> bool:
  return any(part.startswith(".") for part in path.parts)


def _read(
  root: Path,
  files: Sequence[Path],
  images: Sequence[Path],
  content: custom_markup.MarkupFile,
  findings: list[Finding],
) -> list[Annotation]:
  """Reads whichever of the three formats is there."""
  pts = [path for path in files if path.suffix.lower() == ".pts"]
  sources = [name for name in (TABLE, COCO) if (root / name).is_file()]
  sources += [path.relative_to(root).as_posix() for path in pts[:1]]
  if len(sources) > 1:
    raise InputError(
      f"{root} holds the landmarks more than once, in {' and '.join(sources)}: keep one."
    )

  if not sources:
    in_root = [path for path in files if path.parent == root]
    others = [path.name for path in in_root if path.suffix.lower() in (".csv", ".json")]
    hint = f"; is it {' or '.join(others)}? Rename it" if others else ""
    raise InputError(
      f"{root} holds no landmarks: expected {TABLE}, {COCO} or .pts files beside the images{hint}."
    )

  num = content.markup.num
  origin = content.origin

  if sources == [TABLE]:
    return read_table(root / TABLE, num_landmarks=num, origin=origin, findings=findings)
  if sources == [COCO]:
    return read_coco(root / COCO, markup=content.markup, origin=origin, findings=findings)
  return read_pairs(root, pts, images, num_landmarks=num, origin=origin, findings=findings)


def _by_image(
  root: Path, annotations: Sequence[Annotation], findings: list[Finding]
) -> dict[str, list[Annotation]]:
  """Path below the root -> faces, in the order of the file.

  Faces whose image is not there and repeated ones become findings.
  """
  faces_of_image: dict[str, list[Annotation]] = {}
  first: dict[tuple[str, bytes], str] = {}
  for face in annotations:
    try:
      name = find_image(root, face.image).relative_to(root).as_posix()
    except InputError as error:
      findings.append(Finding(face.where, str(error)))
      continue

    if face.landmarks is not None:
      original = first.setdefault((name, face.landmarks.tobytes()), face.where)
      if original != face.where:
        findings.append(Finding(face.where, f"same image and landmarks as {original}"))
        continue

    faces_of_image.setdefault(name, []).append(face)
  return faces_of_image


def _valid_faces(
  image: Path, name: str, annotations: Sequence[Annotation], findings: list[Finding]
) -> list[Face]:
  """The faces of one image whose landmarks could be read."""
  size = _size(image) if any(face.size for face in annotations) else None

  faces = []
  for index, face in enumerate(annotations):
    if face.size and size and face.size != size:
      expected, got = (f"{width} x {height}" for width, height in (face.size, size))
      message = (
        f"width and height of {name} should be {expected}, they are {got}: turned or resized?"
      )
      findings.append(Finding(face.where, message))
    elif face.landmarks is not None:
      extra: dict[str, Any] = {"box_dataset": face.box, "visible": face.visible}
      if len(annotations) > 1:  # only then do messages give the number
        extra["face_index"] = index
      faces.append(Face(image, name, face.landmarks, extra))
  return faces


def _size(image: Path) -> tuple[int, int] | None:
  """(width, height) of the stored pixels, from the header.

  None for a file that the check of images will refuse.
  """
  try:
    with Image.open(image) as header:
      return header.size
  except _HEADER_ERRORS:
    return None


def _check_landmarks_occur(
  faces: Sequence[Face], content: custom_markup.MarkupFile, findings: list[Finding]
) -> None:
  """Adds a finding for each landmark that no face of `train` has.

  It cannot be learned, and has no mean.
  """
  if not faces:
    return
  never = np.isnan([face.landmarks[:, 0] for face in faces]).all(0)
  for k in np.flatnonzero(never):
    message = f"landmark {k} ({content.markup.names[k]}) is annotated in no face of the split train"
    findings.append(Finding(MARKUP_FILE, message))
