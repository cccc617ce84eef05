"""The rendered faces: exact landmarks, honest visibility, results that depend on the seed alone."""

import dataclasses
import pathlib

import cv2
import genuine_files
import numpy as np
import pytest
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.synthetic_faces import head, landmark_curves, raster, render
from tfds_builders.synthetic_faces.camera import NECK, Camera, rotation
from tfds_builders.synthetic_faces.landmark_points import landmark_points
from tfds_builders.synthetic_faces.synthetic_faces_dataset_builder import (
  Builder,
  SyntheticFacesConfig,
)

# fmt: off
_PAIRS_68 = [
  *((i, 16 - i) for i in range(8)), *((17 + i, 26 - i) for i in range(5)), (31, 35), (32, 34),
  (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
  (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67),
]
_PAIRS_98 = [
  *((i, 32 - i) for i in range(16)),
  (33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47),
  (55, 59), (56, 58), (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74),
  (67, 73), (76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95),
  (96, 97),
]
# Points both mark-ups share: jaw, nose, corners of the eyes, mouth.
_SHARED = [
  *((i, 2 * i) for i in range(17)), *((27 + i, 51 + i) for i in range(9)),
  (36, 60), (39, 64), (42, 68), (45, 72), *((48 + i, 76 + i) for i in range(20)),
]
# fmt: on
_SMOOTH = {"smile_left": 1.0, "smile_right": 1.0, "jaw_open": 0.1, "width": 1.0, "nose_width": -1.0}


@pytest.fixture(scope="module")
def faces() -> list[render.RenderedFace]:
  return [render.render_face(7, "test", index) for index in range(24)]


def _swap(pairs: list[tuple[int, int]], num: int) -> np.ndarray:
  flip = np.arange(num)
  for a, b in pairs:
    flip[a], flip[b] = b, a
  return flip


def _frontal(distance: float = 12.0) -> Camera:
  return Camera(head=np.eye(3), body=np.eye(3), distance=distance)


def test_a_face_depends_on_seed_split_and_index_and_on_nothing_else():
  first, again = (render.render_encoded(3, "train", 68, 5) for _ in range(2))
  assert first["image"] == again["image"]
  np.testing.assert_array_equal(first["landmarks"], again["landmarks"])
  for seed, split, index in ((4, "train", 5), (3, "test", 5), (3, "train", 6)):
    other = render.render_encoded(seed, split, 68, index)
    assert other["image"] != first["image"]
    assert np.abs(other["landmarks"] - first["landmarks"]).max() > 1


@pytest.mark.slow
def test_landmarks_lie_in_the_image_and_parts_of_the_face_keep_their_order(
  faces: list[render.RenderedFace],
):
  for face in faces:
    height, width = face.image.shape[:2]
    for landmarks in (face.landmarks_68, face.landmarks_98):
      assert (landmarks > -0.5).all()
      assert (landmarks < [width - 0.5, height - 0.5]).all()
    upright = face.points_68  # model frame: before the head turns
    assert (
      upright[17:27, 1].max()
      < upright[36:48, 1].max()
      < upright[33, 1]
      < upright[51, 1]
      <= upright[57, 1]
      < upright[8, 1]
    )
    assert upright[36, 0] < upright[39, 0] < upright[42, 0] < upright[45, 0]
    assert upright[48, 0] < upright[51, 0] < upright[54, 0]
    pixels = face.landmarks_68
    extent = np.ptp(pixels, axis=0).max() / min(height, width)
    assert 0.44 < extent < 0.61


def test_both_markups_share_jaw_nose_mouth_and_corners_of_the_eyes_exactly(
  faces: list[render.RenderedFace],
):
  a, b = np.array(_SHARED).T
  for face in faces:
    np.testing.assert_array_equal(face.landmarks_68[a], face.landmarks_98[b])
    np.testing.assert_array_equal(face.visible_68[a], face.visible_98[b])


def test_landmarks_are_the_pinhole_projection_of_the_points_of_the_model(
  faces: list[render.RenderedFace],
):
  for face in faces:
    camera = face.camera
    for points, landmarks in (
      (face.points_68, face.landmarks_68),
      (face.points_98, face.landmarks_98),
    ):
      for point, landmark in zip(points, landmarks, strict=True):
        x, y, z = camera.head @ (point - NECK)
        zoom = camera.scale / (1 - z / camera.distance)
        np.testing.assert_allclose(
          landmark, [x * zoom + camera.offset[0], y * zoom + camera.offset[1]], atol=1e-9
        )


def test_a_symmetric_face_seen_from_the_front_has_symmetric_landmarks():
  vertices = head.head_model().vertices(_SMOOTH)
  points = landmark_points(vertices, landmark_curves.FaceCurves(parting=0.5), _frontal())
  for pairs, landmarks in zip((_PAIRS_68, _PAIRS_98), points, strict=True):
    mirrored = (landmarks * [-1, 1, 1])[_swap(pairs, len(landmarks))]
    # Cells are cut along one diagonal, which is the other diagonal in the mirror.
    np.testing.assert_allclose(landmarks, mirrored, atol=6e-3)


def test_jaw_points_slide_to_the_far_contour_and_stay_on_the_near_bone():
  vertices = head.head_model().vertices({})
  curves = landmark_curves.FaceCurves()
  frontal = landmark_points(vertices, curves, _frontal())[0]
  camera = dataclasses.replace(_frontal(), head=rotation(np.radians(40), 0, 0))
  turned = landmark_points(vertices, curves, camera)[0]
  last_row = int(np.searchsorted(head.head_model().sections, 14))
  face_part = vertices[:last_row].reshape(-1, 3).astype(np.float64)
  everything = camera.project(camera.place(face_part))
  pixels = camera.project(camera.place(turned))
  for k in range(12, 16):  # far side, from the cheek to the temple
    beside = everything[np.abs(everything[:, 1] - pixels[k, 1]) < 0.012]
    assert abs(beside[:, 0].max() - pixels[k, 0]) < 0.02, k
  assert (turned[11:16, 2] > frontal[11:16, 2] + 0.02).all()  # slid towards the front

  near = landmark_points(
    vertices, curves, dataclasses.replace(_frontal(), head=rotation(np.radians(25), 0, 0))
  )[0]

  np.testing.assert_allclose(turned[1:4], near[1:4], atol=1e-9)


def test_the_rasteriser_keeps_the_nearest_surface_and_its_position_on_the_grid():
  ys, xs = np.mgrid[0:3, 0:5].astype(np.float32)
  far = np.stack([xs * 10 + 2.5, ys * 12 + 3.25], -1)
  near = far / 2 + 6
  xy = np.concatenate([far, near]).astype(np.float32)
  depth = np.concatenate([np.full((3, 5), 9.0), np.full((3, 5), 4.0) + 0.1 * xs]).astype(np.float32)
  cells = np.ones((5, 4), bool)
  cells[2] = False
  seen = raster.rasterise(
    xy,
    depth,
    (40, 60),
    cells=cells,
    two_sided=np.zeros(6, bool),
    opacity=np.full((6, 5), 255, np.uint8),
  )
  py, px = np.divmod(seen.pixel, 60)
  at = np.stack([px, py], -1)
  front = ((at >= near[0, 0]) & (at <= near[-1, -1])).all(-1)
  column = np.where(front, ((px - 6) * 2 - 2.5) / 10, (px - 2.5) / 10)
  row = np.where(front, 3 + ((py - 6) * 2 - 3.25) / 12, (py - 3.25) / 12)

  np.testing.assert_allclose(seen.grid, np.stack([column, row], -1), atol=1e-4)
  np.testing.assert_allclose(seen.depth[py, px], np.where(front, 4 + 0.1 * column, 9), atol=1e-4)
  assert len(seen.pixel) == 40 * 24  # the centres inside [2.5, 42.5] x [3.25, 27.25]


def test_points_behind_the_head_or_under_an_object_are_not_visible(
  faces: list[render.RenderedFace],
):
  under = 0

  for face in faces:
    for landmarks, visible in (
      (face.landmarks_68, face.visible_68),
      (face.landmarks_98, face.visible_98),
    ):
      rows_columns = tuple(np.rint(landmarks[:, ::-1]).astype(int).T)
      covered = face.occluded[rows_columns] > 0.99
      whole = cv2.erode(face.occluded, np.ones((3, 3)))[rows_columns] > 0.99
      assert not visible[covered & whole].any()
      under += int((covered & whole).sum())

    assert 0.2 < face.visible_68.mean() <= 1

  assert under > 10

  bare = [
    f
    for f in faces
    if f.occluded.max() == 0 and f.person.hair.length == 0 and abs(f.camera.head[0, 2]) < 0.3
  ]

  assert bare and all(f.visible_68[17:].mean() > 0.9 for f in bare)

  front = raster.Raster(
    np.zeros(1, np.int32),
    np.zeros((1, 2), np.float32),
    np.zeros(1, bool),
    np.full((9, 9), 5.0, np.float32),
  )
  seen = render.seen_through(front, np.array([[4.0, 4.0], [4.0, 4.0]]), np.array([5.01, 5.2]))

  np.testing.assert_array_equal(seen, [True, False])


def test_shut_eyes_hide_the_pupils_and_wide_eyes_show_them():
  assert landmark_curves.FaceCurves(upper_lid=(1.2, 1.2)).eye_is_open(0)
  assert not landmark_curves.FaceCurves(upper_lid=(0.0, 1.0)).eye_is_open(0)


@pytest.mark.slow
def test_one_and_two_processes_write_the_same_records(
  tmp_path: pathlib.Path,
):
  records = []

  for processes in (1, 2):
    config = SyntheticFacesConfig(
      name="tiny", num_landmarks=98, num_train=4, num_test=2, num_processes=processes
    )
    builder = Builder(data_dir=tmp_path / str(processes), config=config)
    builder.download_and_prepare()

    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
      "train": 4,
      "test": 2,
    }

    source = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    records.append([source[i] for i in range(len(source))])

  for index, (one, two) in enumerate(zip(*records, strict=True)):
    expected = render.render_encoded(0, "train", 98, index)

    assert one["image"] == two["image"] == expected["image"]
    np.testing.assert_array_equal(
      one["box_landmarks"], [*one["landmarks"].min(0), *one["landmarks"].max(0)]
    )
    for name in ("landmarks", "visible", "box_dataset"):
      np.testing.assert_array_equal(one[name], two[name])
      np.testing.assert_array_equal(one[name], np.asarray(expected[name], one[name].dtype))
    assert one["file_name"] in (f"train/{index:06d}.jpg", f"train/{index:06d}.jpg".encode())

    decoded = cv2.imdecode(np.frombuffer(one["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    face = render.render_face(0, "train", index)

    assert decoded.shape == face.image.shape
    assert np.abs(decoded.astype(int) - face.image).mean() < 4
    assert 0 < np.abs(one["box_dataset"] - one["box_landmarks"]).max() < 60


def test_an_unknown_markup_is_refused_with_a_sentence(tmp_path: pathlib.Path):
  with pytest.raises(InputError, match="got num_landmarks=29"):
    Builder(data_dir=tmp_path, config=SyntheticFacesConfig(name="odd", num_landmarks=29))


@pytest.mark.parametrize(
  ("file", "which", "eyes", "lips", "limit"),
  [
    ("w300_full.npz", 0, (36, 45), (62, 66), 0.032),
    ("wflw_test_subsets.npz", 1, (60, 72), (90, 94), 0.032),
  ],
)
def test_the_mean_face_has_the_proportions_of_annotated_photographs(file, which, eyes, lips, limit):
  with np.load(genuine_files.path("annotations", file), allow_pickle=False) as data:
    real = data["landmarks"] @ [1, 1j]
  real = (real - real[:, eyes].mean(1, keepdims=True)) / (real[:, eyes[1]] - real[:, eyes[0]])[
    :, None
  ]
  flip = _swap((_PAIRS_68, _PAIRS_98)[which], real.shape[1])
  mirrored = -np.conj(real)[:, flip]
  lopsided = np.abs(real - mirrored).mean(1)
  chosen = (lopsided < np.quantile(lopsided, 0.35)) & (
    np.abs(real[:, lips[1]] - real[:, lips[0]]) < 0.06
  )
  both = np.concatenate([real[chosen], mirrored[chosen]])
  mean = np.median(both.real, 0) + 1j * np.median(both.imag, 0)
  points = landmark_points(
    head.head_model().vertices({}), landmark_curves.FaceCurves(), _frontal()
  )[which]
  camera = _frontal()
  ours = camera.project(camera.place(points)) @ [1, 1j]
  ours, mean = ours - ours.mean(), mean - mean.mean()
  turn = np.vdot(ours, mean) / np.vdot(ours, ours).real  # the best similarity (Procrustes)
  distance = np.abs(turn * ours - mean).mean() / np.abs(mean[eyes[1]] - mean[eyes[0]])

  assert distance < limit, distance
