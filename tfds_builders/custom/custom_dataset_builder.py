"""A dataset of your own: a folder of images with landmarks, and a mark-up described in
`markup.yaml`.

What the folder may look like is described in README.md beside this file.
"""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, UnidentifiedImageError

from fal_jax import custom_markup
from fal_jax.errors import InputError
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding, listing
from tfds_builders.custom.annotation import Annotation, find_image
from tfds_builders.custom.coco import read_coco
from tfds_builders.custom.pairs import read_pairs
from tfds_builders.custom.splits import splits_of_images
from tfds_builders.custom.table import read_table

MARKUP_FILE = "markup.yaml"
TABLE, COCO = "landmarks.csv", "annotations.json"
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


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
  """Builds a user's own dataset, `custom/NAME`; whoever opens it by that name needs neither this
  module nor the mark-up file.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
      The folder holds {MARKUP_FILE}, which describes your landmarks, your images in images/, and the landmarks as
      {TABLE}, as {COCO} (COCO), or as a .pts file beside each image: see tfds_builders/custom/README.md.
      """
  MISSING_LANDMARKS = True

  @classmethod
  def described_in(cls, manual_dir: Path) -> CustomConfig:
    file = manual_dir / MARKUP_FILE
    content = custom_markup.read_file(file)
    return CustomConfig(
      name=content.name, description=f"Landmarks of {content.name}.", file=file, content=content
    )

  def _info(self) -> tfds.core.DatasetInfo:
    markup = self.builder_config.content.markup
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=face_features(markup.num),
      license="The user's own.",
      metadata=tfds.core.MetadataDict(
        markup=markup.num, own_markup=custom_markup.to_dict(markup)
      ),
    )

  def train_flags(self) -> str:
    return f"--config={shlex.quote(f'configs/custom.py:{self.builder_config.file}')}"

  def layout(self, downloads: Downloads) -> Layout:
    root, content = downloads.roots[0], self.builder_config.content
    findings: list[Finding] = []
    files = sorted(
      path
      for path in root.rglob("*")
      if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    images = [path for path in files if path.suffix.lower() in _IMAGE_ENDINGS]
    annotations = _read(root, files, images, content, findings)
    faces_of = _by_image(root, annotations, findings)
    findings += [
      Finding(name, "an image without landmarks, not used", "note")
      for name in (path.relative_to(root).as_posix() for path in images)
      if name not in faces_of
    ]
    split_of = splits_of_images(root, faces_of, findings) if faces_of else {}
    splits: dict[str, list[Face]] = {}
    for name, found in sorted(faces_of.items()):
      if name in split_of:
        splits.setdefault(split_of[name], []).extend(_faces(root / name, name, found, findings))
    if self.skip_bad and (empty := [split for split, faces in splits.items() if not faces]):
      errors = [finding for finding in findings if finding.severity == "error"]
      raise InputError(
        f"{self.name}: every face of the split {empty[0]!r} is bad.\n{listing(errors)}"
      )
    _check_landmarks_occur(splits.get("train", []), content, findings)
    return Layout(splits, missing=[], findings=findings)


def _read(
  root: Path,
  files: Sequence[Path],
  images: Sequence[Path],
  content: custom_markup.MarkupFile,
  findings: list[Finding],
) -> list[Annotation]:
  """Reads whichever of the three formats is there."""
  num, origin = content.markup.num, content.origin
  pts = [path for path in files if path.suffix.lower() == ".pts"]
  found = [name for name in (TABLE, COCO) if (root / name).is_file()] + [
    path.relative_to(root).as_posix() for path in pts[:1]
  ]
  if len(found) > 1:
    raise InputError(
      f"{root} holds the landmarks more than once, in {' and '.join(found)}: keep one."
    )
  if not found:
    others = [
      path.name
      for path in files
      if path.parent == root and path.suffix.lower() in (".csv", ".json")
    ]
    hint = f"; is it {' or '.join(others)}? Rename it" if others else ""
    raise InputError(
      f"{root} holds no landmarks: expected {TABLE}, {COCO} or .pts files beside the images{hint}."
    )
  if found == [TABLE]:
    return read_table(root / TABLE, num_landmarks=num, origin=origin, findings=findings)
  if found == [COCO]:
    return read_coco(root / COCO, markup=content.markup, origin=origin, findings=findings)
  return read_pairs(root, pts, images, num_landmarks=num, origin=origin, findings=findings)


def _by_image(
  root: Path, annotations: Sequence[Annotation], findings: list[Finding]
) -> dict[str, list[Annotation]]:
  """Path below the root -> faces, in the order of the file; faces whose image is not there and
  repeated ones become findings.
  """
  faces_of: dict[str, list[Annotation]] = {}
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
    faces_of.setdefault(name, []).append(face)
  return faces_of


def _faces(
  image: Path, name: str, annotations: Sequence[Annotation], findings: list[Finding]
) -> list[Face]:
  """The faces of one image whose landmarks could be read."""
  size = _size(image) if any(face.size for face in annotations) else None
  faces = []
  for index, face in enumerate(annotations):
    if face.size and size and face.size != size:
      said, found = (f"{width} x {height}" for width, height in (face.size, size))
      findings.append(
        Finding(
          face.where,
          f"width and height of {name} should be {said}, they are {found}: turned or resized?",
        )
      )
    elif face.landmarks is not None:
      number = (
        {"face_index": index} if len(annotations) > 1 else {}
      )  # only then do messages give it
      faces.append(
        Face(
          image, name, face.landmarks, {"box_dataset": face.box, "visible": face.visible, **number}
        )
      )
  return faces


def _size(image: Path) -> tuple[int, int] | None:
  """(width, height) of the stored pixels, from the header; None for a file that the check of images
  will refuse.
  """
  try:
    with Image.open(image) as header:
      return header.size
  except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
    return None


def _check_landmarks_occur(
  faces: Sequence[Face], content: custom_markup.MarkupFile, findings: list[Finding]
) -> None:
  """A landmark that no face of `train` has is learnt by nobody, and has no mean."""
  if faces:
    never = np.isnan([face.landmarks[:, 0] for face in faces]).all(0)
    findings += [
      Finding(
        MARKUP_FILE,
        f"landmark {k} ({content.markup.names[k]}) is annotated in no face of the split train",
      )
      for k in np.flatnonzero(never)
    ]
