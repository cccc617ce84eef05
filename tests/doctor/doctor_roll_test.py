"""The doctor sees that the mean face, or single faces, are not upright."""

import numpy as np
import pytest
from doctor_records import clean_records, examine_records, points_of, record, titles

from fal_jax import affine
from fal_jax.doctor import procrustes, symmetry
from fal_jax.doctor.findings import shape_findings
from fal_jax.landmarks import MARKUPS, Markup

FIVE = np.array([[-1, -1.0], [1, -1], [0, 0], [-0.7, 1], [0.7, 1]])
NAMES = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
PAIRS = ((0, 1), (3, 4))


def markup(names, mirror=PAIRS):
  return Markup(names=names, edges=(), mirror=mirror)


def turned(points, degrees):
  """Points (..., 2) turned clockwise as the image is seen."""
  angle = np.radians(degrees)
  matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  return points @ matrix.T


def roll_titles(mean, scheme):
  shape = symmetry.describe_shape(mean, scheme)
  return [
    (each.severity, each.title) for each in shape_findings(shape, scheme) if "turned" in each.title
  ]


@pytest.mark.parametrize("degrees", [0, 30, 50, 90, 135, 180, -90])
@pytest.mark.parametrize(
  "names", [NAMES, ("Right Eye", "LeftEye", "tip", "mouth-right", "mouth left"), tuple("abcde")]
)
def test_the_roll_is_measured_by_names_or_else_by_pairs(degrees, names):
  mean = turned(FIVE, degrees)
  roll = symmetry.roll(mean, markup(names))
  period = 180 if names[0] == "a" else 360
  assert abs((roll - degrees + period / 2) % period - period / 2) < 1e-9

  found = roll_titles(mean, markup(names))
  if names[0] == "a" or abs(degrees) <= 45:
    expected = [] if abs(degrees) in (0, 30, 180) else None
  else:
    expected = ["warning"] if degrees == 50 else ["error"]
  if expected is not None:
    assert [severity for severity, _ in found] == expected


def test_the_title_says_how_the_face_lies():
  assert roll_titles(turned(FIVE, 90), markup(NAMES)) == [
    ("error", "The mean face lies on its side: it is turned by 90 degrees")
  ]
  assert roll_titles(turned(FIVE, 180), markup(NAMES)) == [
    ("error", "The mean face is upside down: it is turned by 180 degrees")
  ]


def test_a_mirrored_face_is_upright():
  mirrored = FIVE * [-1, 1]
  assert symmetry.roll(mirrored, markup(NAMES)) == 0
  assert roll_titles(mirrored, markup(NAMES)) == []


def test_a_mark_up_without_names_and_pairs_tells_nothing():
  assert symmetry.roll(FIVE, markup(tuple("abcde"), mirror=())) is None
  assert roll_titles(turned(FIVE, 90), markup(tuple("abcde"), mirror=())) == []


@pytest.mark.parametrize("num", sorted(MARKUPS))
def test_every_mark_up_of_the_library_can_tell(num):
  names = MARKUPS[num].names
  rng = np.random.default_rng(num)
  mean = rng.normal(0, 0.05, (num, 2))
  for k, name in enumerate(names):
    mean[k, 1] += 1 if any(word in name for word in ("mouth", "lip", "chin")) else 0
    mean[k, 1] -= 1 if any(word in name for word in ("eye", "brow", "pupil")) else 0
  assert abs(symmetry.roll(turned(mean, 90), MARKUPS[num]) - 90) < 10


def test_turns_of_faces_are_measured_against_the_mean():
  angles = np.array([0.0, 20, -100, 179])
  landmarks = np.stack([5 * turned(FIVE, angle) + 40 for angle in angles])
  np.testing.assert_allclose(procrustes.turns(landmarks, FIVE), angles, atol=1e-9)

  mirrored = landmarks * [-1, 1]
  turns = procrustes.turns(mirrored, FIVE + [[0.2, 0]] * 5, mirror_invariant=True)
  np.testing.assert_allclose(np.abs(turns), np.abs(angles), atol=1e-9)


def lying(seed, **extra):
  """A face whose file is stored turned, with its landmarks."""
  points = affine.apply(np.array([[0.0, -1, 89], [1, 0, 0]]), points_of(seed))
  return record(seed, points=points, **extra)


def test_a_dataset_of_lying_faces_is_an_error_and_one_such_face_a_warning():
  records = clean_records()
  assert not any("turned" in title for title in titles(examine_records(records)[1], "error"))

  records["train"][3] = lying(3)
  _, findings, flags = examine_records(records)
  assert np.flatnonzero(flags["train"]["rolled"]).tolist() == [3]
  assert "Faces that are turned by more than 60 degrees" in titles(findings, "warning")

  all_lying = {"train": [lying(seed) for seed in range(10)]}
  report, findings, flags = examine_records(all_lying, **{"eval__splits": ("train",)})
  assert 80 < report["shape"]["roll_degrees"] < 100 and flags["train"]["rolled"].all()
  assert any(
    title.startswith("The mean face lies on its side") for title in titles(findings, "error")
  )


def test_what_prepare_warned_of_is_a_warning():
  metadata = {"warnings": {"few grey levels": ["a.png", "b.png"]}}
  finding = next(
    each
    for each in examine_records(clean_records(), metadata=metadata)[1]
    if each.title == "Warnings from when it was prepared"
  )
  assert finding.severity == "warning" and "few grey levels: 2 files, e.g. a.png" in finding.meaning
