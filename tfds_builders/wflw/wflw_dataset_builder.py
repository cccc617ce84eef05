"""WFLW: 98 landmarks, a rectangle and six attributes of 10,000 faces on photographs of WIDER FACE.

Lists, splits and conventions are described in README.md beside this file.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.schema import RESEARCH_ONLY
from tfds_builders.common.validate import Face, Finding
from tfds_builders.wflw.lists import ATTRIBUTES, Line, parse_line, parse_subset_line, read_lines

_FACES = "list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
_SUBSET = "list_98pt_test/list_98pt_test_{}.txt"


class Builder(ManualFaceBuilder):
  """Builds WFLW from the archives of its authors, packed or unpacked.

  Every tenth line of the training list is `val`, the others are `fit`.
  """

  NUM_LANDMARKS = 98
  EXTRA_FEATURES: ClassVar[Mapping[str, Any]] = {"subsets": tfds.features.Text()}
  HOMEPAGE = "https://wywu.github.io/projects/LAB/WFLW.html"
  LICENSE = RESEARCH_ONLY
  CITATION = """\
@inproceedings{wu2018wflw,
  author    = {Wayne Wu and Chen Qian and Shuo Yang and Quan Wang and Yici Cai and Qiang Zhou},
  title     = {Look at Boundary: A Boundary-Aware Face Alignment Algorithm},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2018},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Get WFLW_images.tar.gz and WFLW_annotations.tar.gz from
      https://wywu.github.io/projects/LAB/WFLW.html and put them into one folder, or unpack them
      there; it then holds WFLW_images and WFLW_annotations.
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

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(self.OFFICIAL_COUNTS)
    indices: Counter[str] = Counter()  # faces of each image so far, over both lists
    train = self._read_faces(downloads, "train", indices, layout)
    test = self._read_faces(downloads, "test", indices, layout)
    layout.add_train(train)
    layout.add("test", test)

    train_images = {face.file_name for face in train if face}
    test_images = {face.file_name for face in test if face}
    for name in train_images & test_images:
      layout.findings.append(Finding(name, "has faces in train and in test", "note"))
    return layout

  def _read_faces(
    self, downloads: Downloads, split: str, indices: Counter[str], layout: Layout
  ) -> list[Face | None]:
    """Reads the list of a split.

    Args:
      downloads: the dataset's files.
      split: "train" or "test".
      indices: faces of each image so far; those of the list are added.
      layout: what is missing or wrong is added here.

    Returns:
      One face per line, None where it is bad or its image is missing: the hold-out does not depend
      on that.
    """
    name = _FACES.format(split)
    path = _annotations(downloads, name)
    official = self.OFFICIAL_COUNTS[split]
    if path is None:
      layout.missing.append(
        f"{name}: not found, expected {official:,} faces (WFLW_annotations.tar.gz)"
      )
      return []

    lines = _parse(path, parse_line, layout.findings)
    if len(lines) != official:
      layout.missing.append(f"{name}: expected {official:,} faces, found {len(lines):,}")

    faces: list[Face | None] = []
    absent: list[str] = []
    for line in lines:
      faces.append(_face(line, downloads, indices, absent, layout.findings) if line else None)
    if absent:
      layout.missing.append(
        f"WFLW_images: images of {len(absent):,} of {len(lines):,} faces of {split} not found, "
        f"the first is {absent[0]}"
      )

    if split == "test":
      _compare_with_subset_lists(downloads, [line for line in lines if line], layout.findings)
    return faces


def _annotations(downloads: Downloads, name: str) -> Path | None:
  """A list, in the archive's folder or where the archive's folder was taken away."""
  return downloads.find_in(("WFLW_annotations/", ""), name)


def _parse(path: Path, parse: Callable[[str], Line], findings: list[Finding]) -> list[Line | None]:
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
      f"{path} is not a WFLW list, no line of it is as expected; line 1: {bad[0].message}."
    )

  findings += bad
  return lines


def _face(
  line: Line,
  downloads: Downloads,
  indices: Counter[str],
  absent: list[str],
  findings: list[Finding],
) -> Face | None:
  """The face of a line; None where its image is `absent` or outside the folder."""
  extra = {
    "box_dataset": line.box,
    "face_index": indices[line.name],
    "subsets": " ".join(line.attributes),
  }
  indices[line.name] += 1
  image = downloads.find(f"WFLW_images/{line.name}")
  if image is None:
    absent.append(line.name)
    return None

  face = Face(image, line.name, line.landmarks, extra)
  try:
    downloads.inside(image, named=f"the image {line.name}")
  except InputError as error:
    findings.append(Finding.from_error(face.label, error))
    return None

  findings += _oddities(face)
  return face


def _oddities(face: Face) -> list[Finding]:
  """What the dataset is known to hold, and what nothing is done about."""
  landmarks = face.landmarks
  box = face.extra["box_dataset"]
  flip = np.asarray(MARKUPS[98].flip)
  paired = flip != np.arange(98)

  notes = []
  if (landmarks.max(0) < box[:2]).any() or (landmarks.min(0) > box[2:]).any():
    notes.append("all landmarks are outside the rectangle")
  if (landmarks == landmarks[flip]).all(-1)[paired].any():
    notes.append("a left landmark and its right counterpart coincide")
  return [Finding(face.label, note, "note") for note in notes]


def _compare_with_subset_lists(
  downloads: Downloads, lines: list[Line], findings: list[Finding]
) -> None:
  """Notes where the six lists of the authors and the attributes disagree.

  The records follow the attributes.
  """
  for attribute in ATTRIBUTES:
    name = _SUBSET.format(attribute)
    path = _annotations(downloads, name)
    if path is None:
      message = "not found, so that the attributes could not be compared with it"
      findings.append(Finding(name, message, "note"))
      continue

    listed = Counter(line.key for line in _parse(path, parse_subset_line, findings) if line)
    marked = Counter(line.key for line in lines if attribute in line.attributes)

    unlisted = f"has the attribute {attribute} and is not in {path.name}"
    unmarked = f"is in {path.name} without the attribute {attribute} in the list of all faces"
    for difference, message in ((marked - listed, unlisted), (listed - marked, unmarked)):
      for image, _ in difference.elements():
        findings.append(Finding(image, message, "note"))
