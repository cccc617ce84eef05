"""Where an annotator would put the landmarks of rendered faces, stated as geometry."""

import dataclasses

import numpy as np
import pytest

from tfds_builders.synthetic_faces import head, landmark_curves, render
from tfds_builders.synthetic_faces.camera import Camera, rotation
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves
from tfds_builders.synthetic_faces.landmark_points import landmark_points
from tfds_builders.synthetic_faces.synthetic_faces_dataset_builder import Builder
from tfds_builders.synthetic_faces.tube import EAR_DEGREES, angle_column

_POSES = [(0, 0), (20, 0), (-35, 10), (45, -20)]  # yaw, pitch in degrees
_FACE_7_OF_TRAIN = [
  [57.5959, 139.4349],
  [131.7209, 195.3698],
  [119.4203, 139.7284],
  [141.7230, 114.1292],
  [125.7803, 169.0487],
]


def _camera(yaw: float, pitch: float = 0.0, distance: float = 16.0) -> Camera:
  turned = rotation(np.radians(yaw), np.radians(pitch), 0.0)
  return Camera(head=turned, body=np.eye(3), distance=distance)


def _pixels(points: np.ndarray, camera: Camera) -> np.ndarray:
  return camera.project(camera.place(np.asarray(points, np.float64)))


def _landmarks(camera: Camera, *, annotated: bool = True) -> tuple[np.ndarray, np.ndarray]:
  """(68, 2) and (98, 2) of the mean head, in the units of the model."""
  points = landmark_points(
    head.head_model().vertices({}), FaceCurves(), camera, annotated=annotated
  )
  return _pixels(points[0], camera), _pixels(points[1], camera)


@pytest.mark.parametrize(("yaw", "pitch"), _POSES)
def test_jaw_points_divide_the_contour_evenly_between_ears_and_chin(yaw: float, pitch: float):
  markups = zip(_landmarks(_camera(yaw, pitch)), (8, 16), (0.07, 0.15), strict=True)
  for points, half, tolerance in markups:
    steps = np.linalg.norm(np.diff(points[: 2 * half + 1], axis=0), axis=1)
    for side in (steps[:half], steps[half:]):
      np.testing.assert_allclose(side / side.mean(), 1, atol=tolerance)

  # Without it they crowd where the cheek turns away.
  if abs(yaw) > 30:
    points = _landmarks(_camera(yaw, pitch), annotated=False)[0]
    steps = np.linalg.norm(np.diff(points[:17], axis=0), axis=1)
    assert max(np.ptp(side) / side.mean() for side in (steps[:8], steps[8:])) > 0.3


@pytest.mark.parametrize("yaw", [35, -35])
def test_jaw_points_on_the_far_side_lie_on_the_outline_of_the_face(yaw: float):
  camera = _camera(yaw)
  points, _ = _landmarks(camera)
  below_the_face = int(np.searchsorted(head.head_model().sections, 14))
  surface = _pixels(head.head_model().vertices({})[:below_the_face].reshape(-1, 3), camera)

  side = np.sign(yaw)
  for k in range(9, 16) if yaw > 0 else range(1, 8):
    beside = surface[np.abs(surface[:, 1] - points[k, 1]) < 0.012]
    assert abs((side * beside[:, 0]).max() - side * points[k, 0]) < 0.02, k


def test_the_jaw_line_starts_at_the_ears_and_has_the_chin_in_its_middle():
  model = head.head_model()
  vertices = model.vertices({})
  row = int(np.searchsorted(model.sections, 6.1))
  for yaw, k, sign in ((30, 0, -1), (-30, 16, 1)):  # the ear of the near side
    camera = _camera(yaw)
    ear = vertices[row, round(float(angle_column(np.radians(sign * EAR_DEGREES))))]
    points, _ = _landmarks(camera)
    old, _ = _landmarks(camera, annotated=False)
    assert np.linalg.norm(points[k] - _pixels(ear, camera)) < 0.04
    assert np.linalg.norm(old[k] - _pixels(ear, camera)) > 0.05

  np.testing.assert_allclose(
    _landmarks(_camera(25))[0][8], _landmarks(_camera(25), annotated=False)[0][8], atol=0.02
  )
  assert abs(_landmarks(_camera(0))[0][8, 0]) < 1e-3


def test_a_fold_inside_the_face_is_not_its_outline():
  facing = np.array(
    [
      [1.0, -1.0, 1.0, 1.0, -1.0, -1.0],  # a fold, then the outline
      [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # the near side, to its end
      [1.0, 1.0, -3.0, -1.0, 1.0, 1.0],  # its end faces the camera again, hidden by the cheek
      [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0],
    ]
  )
  distance = np.array(
    [[0, 1, 2, 3, 4, 3.5], [0, 1, 2, 3, 4, 5], [0, 3, 2.8, 2, 1, 0.5], [0, 1, 2, 3, 4, 5]], float
  )
  np.testing.assert_allclose(
    landmark_curves.outermost(facing, distance), [3.5, 5, 1.25, 0], atol=1e-12
  )


def test_brows_are_marked_on_their_upper_edge_and_inner_lips_opposite_the_outer_ones():
  curves = FaceCurves(parting=0.6, brow_reach=0.9)
  points_68, points_98 = curves.points(annotated=True)
  upper, _ = curves.brow(np.arange(5.0))
  np.testing.assert_allclose(points_68[22:27], upper[::-1])
  assert (points_98[46:50, 1] > points_98[[45, 44, 43, 42], 1]).all()
  assert not np.allclose(curves.points()[0][22:27], upper[::-1], atol=5e-3)
  assert upper[0, 0] < FaceCurves().brow(np.zeros(1))[0][0, 0] - 0.03

  for inner, outer, other in ((61, 50, 58), (63, 52, 56), (65, 56, 52), (67, 58, 50)):
    ends = sorted(abs(points_68[[outer, other], 0]))
    assert ends[0] <= abs(points_68[inner, 0]) <= ends[1]
    np.testing.assert_array_equal(points_98[28 + inner], points_68[inner])


def test_large_is_of_other_images_and_leaves_those_of_68_alone():
  configs = {config.name: config for config in Builder.BUILDER_CONFIGS}
  large, plain = configs["large"], configs["68"]
  assert large.num_train >= 20_000 and large.num_landmarks == 68
  assert large.annotated and large.varied and not (plain.annotated or plain.varied)

  options = {"annotated": large.annotated, "varied": large.varied}
  one, again = (render.render_encoded(large.seed, "train", 68, 7, **options) for _ in range(2))
  assert one["image"] == again["image"]
  assert one["image"] != render.render_encoded(large.seed, "train", 68, 7)["image"]
  np.testing.assert_array_equal(one["landmarks"], again["landmarks"])

  # Measured when there were no other configs than "68" and "98".
  face = render.render_face(plain.seed, "train", 7)
  np.testing.assert_allclose(
    face.landmarks_68[[0, 8, 30, 45, 57]], _FACE_7_OF_TRAIN, atol=1e-4, err_msg="68 has changed"
  )
  mean = face.image.mean((0, 1))
  np.testing.assert_allclose(mean, [108.792, 108.859, 95.839], atol=0.02, err_msg="68 has changed")


def test_small_has_the_first_faces_of_68():
  configs = {config.name: dataclasses.asdict(config) for config in Builder.BUILDER_CONFIGS}
  small, plain = configs["small"], configs["68"]
  counts = ("num_train", "num_test")
  assert all(0 < small[count] < plain[count] for count in counts)

  # An image depends on its number and on these alone.
  free = (*counts, "name", "description")
  assert {key: value for key, value in small.items() if key not in free} == {
    key: value for key, value in plain.items() if key not in free
  }


def test_varied_heads_have_their_ears_as_far_back_as_people_have():
  model = head.head_model()
  row, eyes = (int(np.searchsorted(model.sections, at)) for at in (7.2, 6.0))
  columns = [round(float(angle_column(np.radians(d)))) for d in (EAR_DEGREES, 0)]

  def depth(shape: dict[str, float]) -> float:
    """From the nasal bridge back to the root of the ear."""
    vertices = model.vertices(shape)
    return float(vertices[eyes, columns[1], 2] - vertices[row, columns[0], 2])

  # Between nasion and tragus lie about 1.05 distances between the outer eye corners.
  assert depth({}) < 0.95
  assert 1.0 < depth({"ears_back": 1.0}) < 1.1

  faces = [render.render_face(1, "train", n, annotated=True, varied=True) for n in range(6)]
  assert all(face.person.shape["ears_back"] > 0 for face in faces)
  assert len({face.person.look.nostrils for face in faces}) == 6
  for face in faces:
    height, width = face.image.shape[:2]
    assert ((face.landmarks_68 > -0.5) & (face.landmarks_68 < [width - 0.5, height - 0.5])).all()
