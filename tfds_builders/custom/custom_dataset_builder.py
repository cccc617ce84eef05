"""A dataset of your own: images with landmarks, and a mark-up described in `markup.yaml`.

What the folder may look like is described in README.md beside this file.
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fal_jax import custom_markup
from fal_jax.errors import InputError
from fal_jax.images import IMAGE_SUFFIXES
from tfds_builders.common.downloads import Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.validate import Face, Finding, listing
from tfds_builders.custom.annotation import Annotation, ImageIndex, find_image, index_images
from tfds_builders.custom.pixels import Pixels, read_pixels
from tfds_builders.custom.sources import COCO, MARKUP_FILE, TABLES, read_folder
from tfds_builders.custom.splits import splits_of_images

# What a folder may hold beside images and landmarks.
_TEXT_SUFFIXES = (".yaml", ".yml", ".txt", ".md", ".csv", ".json", ".pts", ".xml")


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
      the landmarks as {TABLES[0]}, as {COCO} (COCO), as a .pts file beside
      each image, or as annotation tools write them: see tfds_builders/custom/README.md.
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
    content = self.builder_config.content
    return {
      "own_markup": custom_markup.to_dict(content.markup),
      "value_range": list(content.value_range or ()),
    }

  def train_flags(self) -> str:
    return f"--config={shlex.quote(f'configs/custom.py:{self.builder_config.file}')}"

  def layout(self, downloads: Downloads) -> Layout:
    root = downloads.roots[0]
    content = self.builder_config.content
    findings: list[Finding] = []

    files = sorted(path for path in root.rglob("*") if not _is_hidden(path.relative_to(root)))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    findings += _unread(root, files)
    annotations = read_folder(root, files, images, content=content, findings=findings)
    index = index_images(root, images)
    faces_of_image = _by_image(root, annotations, index, findings)
    for name in (path.relative_to(root).as_posix() for path in images):
      if name not in faces_of_image:
        findings.append(Finding(name, "an image without landmarks, not used", "note"))

    _check_boxes(root, faces_of_image, content)
    pixels = read_pixels(root, faces_of_image, content, findings)

    split_of = splits_of_images(root, faces_of_image, index, findings) if faces_of_image else {}
    splits: dict[str, list[Face]] = {}
    for name, faces in sorted(faces_of_image.items()):
      if name in split_of:
        valid = _valid_faces(root, name, faces, pixels, findings)
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


def _by_image(
  root: Path, annotations: Sequence[Annotation], index: ImageIndex, findings: list[Finding]
) -> dict[str, list[Annotation]]:
  """Path below the root -> faces, in the order of the file.

  Faces whose image is not there and repeated ones become findings, and so do images that were found
  elsewhere than the file says, each of which may be meant by one name only.
  """
  faces_of_image: dict[str, list[Annotation]] = {}
  called: dict[str, tuple[str, str]] = {}
  first: dict[tuple[str, bytes], str] = {}
  for face in annotations:
    try:
      name, how = find_image(root, face.image, index)
      other, other_how = called.setdefault(name, (face.image, how))
      if other != face.image and (how or other_how):
        raise InputError(f"the image {name} is also that of another path, {other[-80:]!r}")
    except InputError as error:
      findings.append(Finding(face.where, str(error)))
      continue
    if how:
      findings.append(Finding(face.where, how, "note"))

    if face.landmarks is not None:
      original = first.setdefault((name, face.landmarks.tobytes()), face.where)
      if original != face.where:
        findings.append(Finding(face.where, f"same image and landmarks as {original}"))
        continue

    faces_of_image.setdefault(name, []).append(face)
  return faces_of_image


def _valid_faces(
  root: Path,
  name: str,
  annotations: Sequence[Annotation],
  pixels: Pixels,
  findings: list[Finding],
) -> list[Face]:
  """The faces of one image whose landmarks could be read."""
  faces = []
  for index, face in enumerate(annotations):
    finding = pixels.check_size(face, name)
    findings += [finding] if finding else []
    if face.landmarks is not None and not (finding and finding.severity == "error"):
      extra: dict[str, Any] = {"box_dataset": face.box, "visible": face.visible}
      if len(annotations) > 1:  # only then do messages give the number
        extra["face_index"] = index
      faces.append(Face(pixels.image(root, name), name, face.landmarks, extra))
  return faces


def _unread(root: Path, files: Sequence[Path]) -> list[Finding]:
  """A note for each file of a kind that is not read, phones' photographs among them."""
  known = (*IMAGE_SUFFIXES, *_TEXT_SUFFIXES)
  others = [path for path in files if path.suffix.lower() not in known and path.is_file()]
  return [
    Finding(
      path.relative_to(root).as_posix(),
      f"{path.suffix.lower() or 'files without ending'}: of no kind that is read",
      "note",
    )
    for path in others
  ]


def _check_boxes(
  root: Path, faces_of_image: Mapping[str, Sequence[Annotation]], content: custom_markup.MarkupFile
) -> None:
  """Refuses faces of one landmark, which have no extent of their own, if none has a box."""
  faces = [face for of_image in faces_of_image.values() for face in of_image]
  bare = [face for face in faces if face.landmarks is not None and face.box is None]
  if content.markup.num == 1 and bare and len(bare) == len(faces):
    raise InputError(
      f"{root / MARKUP_FILE} describes one landmark, which tells no size of a face: give each face "
      f"a box, in the columns box_x0,box_y0,box_x1,box_y1 of {TABLES[0]} or as bbox in {COCO}."
    )


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
