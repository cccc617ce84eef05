"""WFLW: 98 landmarks, a rectangle and six attributes of 10,000 faces on photographs of WIDER FACE.

Lists, splits and conventions are described in README.md beside this file.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.schema import face_features
from tfds_builders.common.validate import Face, Finding
from tfds_builders.wflw.lists import ATTRIBUTES, Line, parse_line, parse_subset_line, read_lines

_CITATION = """\
@inproceedings{wu2018wflw,
  author    = {Wayne Wu and Chen Qian and Shuo Yang and Quan Wang and Yici Cai and Qiang Zhou},
  title     = {Look at Boundary: A Boundary-Aware Face Alignment Algorithm},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2018},
}
"""

_FACES = "list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
_SUBSET = "list_98pt_test/list_98pt_test_{}.txt"

# Every tenth line of the training list is `val`, the others are `fit`.
_HOLD_OUT = 10


class Builder(ManualFaceBuilder):
  """Builds WFLW from the archives of its authors, packed or unpacked."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Get WFLW_images.tar.gz and WFLW_annotations.tar.gz from https://wywu.github.io/projects/LAB/WFLW.html and put them into one
      folder, or unpack them there; it then holds WFLW_images and WFLW_annotations.
      """
  ARCHIVES = (
    Archive("WFLW_images.tar.gz", size="about 743 MB"),
    Archive("WFLW_annotations.tar.gz", size="16.3 MB"),
  )
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "39--Ice_Skating/39_Ice_Skating_Ice_Skating_39_546.jpg": (216.123001, 264.334991),
    "12--Group/12_Group_Group_12_Group_Group_12_802.jpg": (554.911987, 180.796997),
    "2--Demonstration/2_Demonstration_Political_Rally_2_424.jpg": (148.701996, 253.686005),
  }
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {"train": 7500, "fit": 6750, "val": 750, "test": 2500}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=face_features(98, subsets=tfds.features.Text()),
      homepage="https://wywu.github.io/projects/LAB/WFLW.html",
      citation=_CITATION,
      license="Research and other non-commercial use only; the photographs belong to their owners.",
      metadata=tfds.core.MetadataDict(markup=98),
    )

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout(splits={name: [] for name in self.OFFICIAL_COUNTS}, missing=[], findings=[])
    indices: Counter[str] = Counter()  # faces of each image so far, over both lists
    faces = {name: self._read_faces(downloads, name, indices, layout) for name in ("train", "test")}
    layout.splits["train"] = [face for face in faces["train"] if face]
    layout.splits["val"] = [face for face in faces["train"][::_HOLD_OUT] if face]
    layout.splits["fit"] = [
      face for index, face in enumerate(faces["train"]) if index % _HOLD_OUT and face
    ]
    layout.splits["test"] = [face for face in faces["test"] if face]

    images = [{face.file_name for face in of_split if face} for of_split in faces.values()]
    layout.findings += [
      Finding(name, "has faces in train and in test", "note") for name in images[0] & images[1]
    ]
    return layout

  def _read_faces(
    self, downloads: Downloads, split: str, indices: Counter[str], layout: Layout
  ) -> list[Face | None]:
    """One face a line of the split's list, None where it is bad or its image is missing: the
    hold-out does not depend on that.
    """
    name = _FACES.format(split)
    path = _annotations(downloads, name)
    official = self.OFFICIAL_COUNTS[split]
    if path is None:
      layout.missing.append(
        f"{name}: not found, expected {official:,} faces (WFLW_annotations.tar.gz)"
      )
      return []
    lines = _parsed(path, parse_line, layout.findings)
    if len(lines) != official:
      layout.missing.append(f"{name}: expected {official:,} faces, found {len(lines):,}")

    faces: list[Face | None] = []
    absent = []
    for line in lines:
      face = None
      if line:
        extra = {
          "box_dataset": line.box,
          "face_index": indices[line.name],
          "subsets": " ".join(line.attributes),
        }
        indices[line.name] += 1
        image = downloads.find(f"WFLW_images/{line.name}")
        if image is None:
          absent.append(line.name)
        else:
          face = Face(image, line.name, line.landmarks, extra)
          try:
            downloads.inside(image, named=f"the image {line.name}")
          except InputError as error:
            layout.findings.append(Finding(face.label, str(error).rstrip(".")))
            face = None
      if face:
        layout.findings += _oddities(face)
      faces.append(face)
    if absent:
      layout.missing.append(
        f"WFLW_images: images of {len(absent):,} of {len(lines):,} faces of {split} not found, the first is {absent[0]}"
      )
    if split == "test":
      _compare_with_subset_lists(downloads, [line for line in lines if line], layout.findings)
    return faces


def _annotations(downloads: Downloads, name: str) -> Path | None:
  """A list, in the archive's folder or where the archive's folder was taken away."""
  return downloads.find(f"WFLW_annotations/{name}") or downloads.find(name)


def _parsed(path: Path, parse: Callable[[str], Line], findings: list[Finding]) -> list[Line | None]:
  """The faces of a list; a line that is bad is a finding and None."""
  lines: list[Line | None] = []
  bad = []
  for number, text in read_lines(path):
    try:
      lines.append(parse(text))
    except InputError as error:
      lines.append(None)
      bad.append(Finding(f"{path.name}, line {number}", str(error)))
  if not any(lines):
    raise InputError(
      f"{path} is no list of WFLW, no line of it is as expected; line 1: {bad[0].message}."
    )
  findings += bad
  return lines


def _oddities(face: Face) -> list[Finding]:
  """What the dataset is known to hold, and what nothing is done about."""
  findings = []
  box, landmarks, flip = face.extra["box_dataset"], face.landmarks, np.asarray(MARKUPS[98].flip)
  if (landmarks.max(0) < box[:2]).any() or (landmarks.min(0) > box[2:]).any():
    findings.append(Finding(face.label, "all landmarks lie beside the rectangle", "note"))
  paired = flip != np.arange(98)
  if (landmarks == landmarks[flip]).all(-1)[paired].any():
    findings.append(
      Finding(face.label, "a left landmark and its right counterpart coincide", "note")
    )
  return findings


def _compare_with_subset_lists(
  downloads: Downloads, lines: list[Line], findings: list[Finding]
) -> None:
  """Notes where the six lists of the authors and the attributes disagree: the records follow the
  attributes.
  """
  for attribute in ATTRIBUTES:
    name = _SUBSET.format(attribute)
    path = _annotations(downloads, name)
    if path is None:
      findings.append(
        Finding(name, "not found, so that the attributes could not be compared with it", "note")
      )
      continue
    listed = Counter(line.key for line in _parsed(path, parse_subset_line, findings) if line)
    marked = Counter(line.key for line in lines if attribute in line.attributes)
    file = path.name
    for (image, _), count in (marked - listed).items():
      findings += [
        Finding(image, f"has the attribute {attribute} and is not in {file}", "note")
      ] * count
    for (image, _), count in (listed - marked).items():
      findings += [
        Finding(
          image, f"is in {file} without the attribute {attribute} in the list of all faces", "note"
        )
      ] * count
