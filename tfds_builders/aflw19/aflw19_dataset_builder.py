"""AFLW-19: 19 landmarks, visibility and a box of 24,386 AFLW faces, re-annotated for CCL.

File, splits and conventions are described in README.md beside this file.
"""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from fal_jax.errors import InputError
from tfds_builders.aflw19 import release
from tfds_builders.aflw19.release import Release, read_release
from tfds_builders.common.downloads import Archive, Downloads
from tfds_builders.common.manual import Layout, ManualFaceBuilder
from tfds_builders.common.schema import RESEARCH_ONLY
from tfds_builders.common.validate import Face, Finding

_ANNOTATIONS = "AFLWinfo_release.mat"

# Where the folders 0, 2 and 3 may lie: as the archives hold them, and as others' instructions have
# them moved.
_IMAGE_ROOTS = ("aflw/data/flickr/", "data/flickr/", "flickr/", "images/", "")
_OTHER_SUFFIX = {".jpg": ".png", ".png": ".jpg"}


class Builder(ManualFaceBuilder):
  """Builds AFLW-19 from AFLW's images, packed or unpacked, and AFLWinfo_release.mat."""

  NUM_LANDMARKS = release.NUM_LANDMARKS
  HOMEPAGE = "http://mmlab.ie.cuhk.edu.hk/projects/compositional.html"
  LICENSE = RESEARCH_ONLY
  CITATION = """\
@inproceedings{koestinger2011aflw,
  author    = {Martin Koestinger and Paul Wohlhart and Peter M. Roth and Horst Bischof},
  title     = {Annotated Facial Landmarks in the Wild: A Large-scale, Real-world Database for
               Facial Landmark Localization},
  booktitle = {IEEE International Conference on Computer Vision Workshops},
  year      = {2011},
}
@inproceedings{zhu2016ccl,
  author    = {Shizhan Zhu and Cheng Li and Chen Change Loy and Xiaoou Tang},
  title     = {Unconstrained Face Alignment via Cascaded Compositional Learning},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2016},
}
"""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
      Ask for the images (aflw-images-0.tar.gz, aflw-images-2.tar.gz and aflw-images-3.tar.gz, or
      aflw.tar.gz) on
      https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw/ and get
      AFLWinfo_release.mat from http://mmlab.ie.cuhk.edu.hk/projects/compositional.html. Put all
      into one folder, or unpack the archives there; it then holds AFLWinfo_release.mat and
      aflw/data/flickr/0, /2 and /3.
      """
  ARCHIVES = (
    Archive("aflw-images-0.tar.gz"),
    Archive("aflw-images-2.tar.gz"),
    Archive("aflw-images-3.tar.gz"),
    Archive("aflw.tar.gz"),
  )
  # As others' copies of the annotations have them, from two independent sources: the first four
  # from one, the last two from the other. The file itself we have not seen.
  FIRST_LANDMARKS: ClassVar[dict[str, tuple[float, float]]] = {
    "image00002.jpg": (153.527863, 139.100616),
    "image00010.jpg": (618.074074, 204.074074),
    "image00081.jpg": (1087.429952, 1956.73913),
    "image00120.jpg": (214.147934, 70.774994),
    "image04476.jpg": (126.647453, 157.273056),
    "image22568.jpg": (337.283414, 205.78905),
  }
  FIRST_LANDMARKS_SECOND_HAND = True
  OFFICIAL_COUNTS: ClassVar[dict[str, int]] = {"train": 20_000, "test_full": 4386}

  def layout(self, downloads: Downloads) -> Layout:
    layout = Layout.empty(("train", "test_full", "test_frontal", "test_frontal_inside"))
    path = downloads.find(_ANNOTATIONS)
    if path is None:
      expected = sum(self.OFFICIAL_COUNTS.values())
      layout.missing.append(f"{_ANNOTATIONS}: not found, expected {expected:,} faces")
      return layout

    annotations = read_release(path)
    faces = _faces(downloads, annotations, layout)

    train, test = np.split(annotations.order, [release.NUM_TRAIN])
    frontal = test[annotations.visible[test].all(1)]
    inside = frontal[annotations.inside[frontal]]
    layout.add("train", (faces[row] for row in train))
    layout.add("test_full", (faces[row] for row in test))
    layout.add("test_frontal", (faces[row] for row in frontal))
    layout.add("test_frontal_inside", (faces[row] for row in inside))
    return layout


def _faces(downloads: Downloads, annotations: Release, layout: Layout) -> list[Face | None]:
  """The face of each row, None where its image is missing or its box is bad."""
  faces: list[Face | None] = []
  indices: Counter[str] = Counter()  # faces of each image so far
  absent: dict[str, list[str]] = {}
  for name, landmarks, visible, box in zip(
    annotations.names, annotations.landmarks, annotations.visible, annotations.boxes, strict=True
  ):
    extra = {"visible": visible, "box_dataset": box, "face_index": indices[name]}
    indices[name] += 1
    image = _image(downloads, name)
    if image is None:
      absent.setdefault(_folder(name), []).append(name)
      faces.append(None)
      continue

    face = Face(image, name, landmarks, extra)
    findings = _check(downloads, face, image)
    layout.findings += findings
    is_bad = any(finding.severity == "error" for finding in findings)
    faces.append(None if is_bad else face)

  totals = Counter(map(_folder, annotations.names))
  for folder, names in sorted(absent.items()):
    layout.missing.append(
      f"aflw/data/flickr/{folder}: images of {len(names):,} of {totals[folder]:,} faces not found, "
      f"the first is {names[0]}"
    )
  return faces


def _folder(name: str) -> str:
  return str(PurePosixPath(name).parent)


def _image(downloads: Downloads, name: str) -> Path | None:
  """The file that a name means.

  Some names end in .jpg where the file is a .png, and the other way round.
  """
  path = PurePosixPath(name)
  candidates = [name]
  if other := _OTHER_SUFFIX.get(path.suffix.lower()):
    candidates.append(str(path.with_suffix(other)))
  files = (downloads.find_in(_IMAGE_ROOTS, candidate) for candidate in candidates)
  return next((file for file in files if file), None)


def _check(downloads: Downloads, face: Face, image: Path) -> list[Finding]:
  """What is wrong or odd with one row."""
  findings = []
  box = face.extra["box_dataset"]
  try:
    downloads.inside(image, named=f"the image {face.file_name}")
  except InputError as error:
    findings.append(Finding.from_error(face.label, error))

  if not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
    message = f"its box x0, y0, x1, y1 is {box.tolist()}, that has no area"
    findings.append(Finding(face.label, message))

  if image.suffix.lower() != PurePosixPath(face.file_name).suffix.lower():
    message = "its image was found under the other of the endings .jpg and .png"
    findings.append(Finding(face.label, message, "note"))
  return findings
