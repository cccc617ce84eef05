"""Findings about single faces: what each flag of `face_flags` means, and what to do about it."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from fal_jax import metrics
from fal_jax.doctor.face_flags import MAX_ROLL, MIN_BOX_IOU, MIN_NORM_SHARE
from fal_jax.doctor.findings import NOTHING_TO_DO, Finding

# By flag; the order is that of the page among findings of one severity.
_FINDINGS = {
  "unreadable": Finding(
    "error",
    title="Images whose header cannot be read",
    meaning="Training stops when it reaches one of them.",
    remedy="Download these files and prepare the dataset again; --skip_bad leaves them out.",
  ),
  "empty": Finding(
    "error",
    title="Faces without a single landmark",
    meaning="There is nothing to learn from them, and no box to crop them by.",
    remedy="Leave them out of the dataset.",
  ),
  "no_extent": Finding(
    "error",
    title="Faces without extent: all landmarks within a pixel",
    meaning="They cannot be cropped, and every normaliser is zero.",
    remedy=(
      "Fix these annotations or leave them out; landmarks from 0 to 1 must be multiplied by the "
      "image's size where they are read."
    ),
  ),
  "swapped": Finding(
    "error",
    title="Left and right swapped in individual faces",
    meaning=(
      "These faces fit the mean shape far better once left and right landmarks are swapped: they "
      "are mirrored without the permutation, or labelled the other way round. The network is "
      "taught contradictions."
    ),
    remedy="Inspect them below; apply the mark-up's flip permutation to their landmarks.",
  ),
  "rolled": Finding(
    "warning",
    title=f"Faces that are turned by more than {MAX_ROLL} degrees",
    meaning=(
      "They lie on their side or upside down, which people seldom do in photographs: files that "
      "were turned, or that only their EXIF orientation turns."
    ),
    remedy="Inspect them below; in your own dataset, `upright` in markup.yaml turns such images.",
  ),
  "far_outside": Finding(
    "error",
    title="Landmarks further outside the image than the face is large",
    meaning=(
      "They most likely belong to another image, to another size of it, or have x and y swapped."
    ),
    remedy="Compare the annotation file with the image.",
  ),
  "box_degenerate": Finding(
    "error",
    title="Dataset boxes that are inverted or have no area",
    meaning="No crop can be made from them.",
    remedy=(
      "If they are (x, y, width, height), convert them to corners where they are read; otherwise "
      "set --config.data.box=landmarks."
    ),
  ),
  "no_crop": Finding(
    "error",
    title="Faces that the config's crop rule cannot crop",
    meaning="Their box is missing or degenerate: training stops at them.",
    remedy="Set --config.data.box=landmarks, or leave them out.",
  ),
  "repeated": Finding(
    "warning",
    title="The same face twice in one split",
    meaning="It counts twice in training and in means.",
    remedy="Keep one of each.",
  ),
  "renamed": Finding(
    "warning",
    title="The same image under several names",
    meaning="Two annotations of one image may contradict each other.",
    remedy="Look at them; where they show the same face, keep the better annotation.",
  ),
  "box_elsewhere": Finding(
    "warning",
    title=(
      "Dataset boxes that hardly overlap the landmarks (intersection over union below "
      f"{MIN_BOX_IOU:g})"
    ),
    meaning=(
      "Such a box shows another face, or none; a network whose crops come from it cannot find the "
      "landmarks."
    ),
    remedy="Compare the box with the image; check the order (x0, y0, x1, y1) where it is read.",
  ),
  "small_norm": Finding(
    "warning",
    title=(
      f"Normalisers below {metrics.MIN_NORM:g} px or below {MIN_NORM_SHARE:.0%} of the face's size"
    ),
    meaning=(
      "An error of one pixel is a huge percentage of these: such faces, mostly profiles, dominate "
      "mean errors by eye distance."
    ),
    remedy=(
      "Report a box normaliser (nme_box) alongside nme_ic and nme_ip, or evaluate profiles "
      "separately."
    ),
  ),
  "odd": Finding(
    "warning",
    title="Faces unlike all others",
    meaning=(
      "Their landmarks are six robust standard deviations further from the mean shape than usual: "
      "often a wrong annotation, sometimes an extreme pose."
    ),
    remedy="Inspect them below.",
  ),
  "tiny": Finding(
    "note",
    title="Faces that the crop enlarges more than eight times",
    meaning="They are blurred in the network's input.",
    remedy="Expect larger errors on them.",
  ),
  "box_missing": Finding(
    "note",
    title="Faces without a box of the dataset's own",
    meaning="Only --config.data.box=landmarks can crop them.",
    remedy="Nothing, unless you want to crop by the dataset's boxes.",
  ),
  "outside": Finding(
    "note",
    title="Landmarks outside their image",
    meaning=(
      "Annotators follow a face across the border. Such landmarks are used in training and "
      "evaluation like all others; the crop is black there."
    ),
    remedy=NOTHING_TO_DO,
  ),
  "missing": Finding(
    "note",
    title="Landmarks that are not annotated",
    meaning="They are left out of the loss and of all errors.",
    remedy=NOTHING_TO_DO,
  ),
  "occluded": Finding(
    "note",
    title="Landmarks annotated as hidden",
    meaning="They are used in training and evaluation like visible ones.",
    remedy=NOTHING_TO_DO,
  ),
  "not_rgb": Finding(
    "note",
    title="Images that are not RGB",
    meaning="They are converted when they are read; grey stays grey.",
    remedy=NOTHING_TO_DO,
  ),
  "turned": Finding(
    "note",
    title="Images with an EXIF orientation",
    meaning="It is ignored: annotations belong to the stored pixels.",
    remedy=(
      "If landmarks are offset from their faces below, they were made on the rotated image: in "
      "your own dataset, write `upright: true` into markup.yaml and prepare it again."
    ),
  ),
}


def face_findings(
  names: Mapping[str, list[str]], flags: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Finding]:
  """Finds what is wrong, odd or good to know about single faces.

  Args:
    names: split -> N names.
    flags: split -> flag -> (N,) bool, see `face_flags.flag_faces`.

  Yields:
    One finding for each flag that any face has, with the names of these faces.
  """
  for flag, finding in _FINDINGS.items():
    faces = {
      split: [names[split][row] for row in np.flatnonzero(masks[flag])]
      for split, masks in flags.items()
      if masks[flag].any()
    }
    if faces:
      yield dataclasses.replace(finding, faces=faces)
