"""What an aligner makes of boxes: batches, views, refinement, decoders, and spreads in image px."""

import functools
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_dataset

from fal_jax import affine, crop, landmarks, predict
from fal_jax.errors import InputError
from fal_jax.predict import FaceAligner

SIZE = 90, 100  # rows and columns of the test photograph


@pytest.fixture(scope="module")
def photo():
  """An image (H, W, 3) uint8 of a face, and its box (1, 4)."""
  points = tiny_dataset.face_landmarks(999, SIZE)
  return tiny_dataset.draw_face(points, SIZE), landmarks.tight_boxes(points[None])


@pytest.fixture(scope="module")
def make(workdir):
  """The run's aligner with given options; asked twice, the same one, with what it has compiled."""
  return functools.cache(lambda **options: FaceAligner.from_checkpoint(workdir, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("count", "sizes"), [(0, []), (1, [1]), (3, [2, 1]), (11, [8, 2, 1]), (40, [16, 16, 8])]
)
def test_faces_are_computed_in_powers_of_two_and_none_for_nothing(
  make, photo, monkeypatch, count, sizes
):
  aligner = make()
  met = []
  num_landmarks = tiny_dataset.MARKUP

  def predict(_, images):
    met.append(len(images))
    batch = len(images), num_landmarks
    return np.zeros((*batch, 2)), np.zeros(batch), np.zeros((*batch, 2, 2))

  monkeypatch.setattr(aligner, "_predict", predict)
  result = aligner(photo[0], np.repeat(photo[1], count, 0))

  assert met == sizes
  assert len(result.landmarks) == count


@pytest.mark.slow
def test_one_view_has_no_uncertainty_and_several_have(make, photo):
  alone = make()(*photo)
  several = make(views=4)(*photo)

  assert alone.uncertainty is None
  assert several.uncertainty.shape == (1, tiny_dataset.MARKUP)
  assert (several.uncertainty > 0).all() and np.isfinite(several.uncertainty).all()


@pytest.mark.slow
def test_uncertainty_is_the_spread_of_the_views_about_their_mean_in_image_px(make, photo):
  """Two views, of which the second is the mirror image."""
  image, box = photo
  mirrored_image = np.ascontiguousarray(image[:, ::-1])
  mirror = affine.mirror(image.shape[1]).astype(np.float64)
  mirrored_box = landmarks.tight_boxes(affine.apply(mirror, box.reshape(1, 2, 2)))
  one = make()
  flip = one.setup.markup.flip

  first = one(image, box).landmarks[0]
  second = affine.apply(mirror, one(mirrored_image, mirrored_box).landmarks[0])[flip]
  both = make(views=2)(image, box)

  np.testing.assert_allclose(both.landmarks[0], (first + second) / 2, atol=0.02)
  half = np.linalg.norm(first - second, axis=-1) / 2
  np.testing.assert_allclose(both.uncertainty[0], half, atol=0.02)
  assert half.max() > 0.1


def test_views_are_turned_by_different_small_angles_and_every_second_one_is_mirrored():
  maps, mirrored = predict._views(9, 64)

  assert mirrored.tolist() == [False, True] * 4 + [False]
  np.testing.assert_allclose(maps[0], np.eye(3)[:2], atol=1e-9)
  determinants = np.linalg.det(maps[:, :, :2])
  np.testing.assert_allclose(determinants, np.where(mirrored, -1, 1), atol=1e-6)
  centre = np.array([31.5, 31.5])
  np.testing.assert_allclose(affine.apply(maps, np.tile(centre, (9, 1, 1)))[:, 0], [centre] * 9)
  angles = np.degrees(np.arcsin(maps[2:, 1, 0]))
  assert (np.abs(angles) <= 10).all() and len(np.unique(np.round(angles, 3))) == 7


def test_refining_aligns_the_box_of_the_first_landmarks_again(make, photo):
  image, box = photo
  plain = make()
  loose = box + np.array([-6, -9, 3, 8])

  first = plain(image, loose)
  expected = plain(image, landmarks.tight_boxes(first.landmarks))
  refined = make(refine=1)(image, loose)

  np.testing.assert_array_equal(refined.landmarks, expected.landmarks)
  assert np.abs(refined.landmarks - first.landmarks).max() > 0.01


def test_a_face_whose_landmarks_fall_together_keeps_its_box(make, photo, monkeypatch):
  aligner = make(refine=2)

  def predict(_, images):
    batch = len(images), tiny_dataset.MARKUP
    return np.full((*batch, 2), 20.0), np.ones(batch), np.zeros((*batch, 2, 2))

  monkeypatch.setattr(aligner, "_predict", predict)
  assert np.isfinite(aligner(*photo).landmarks).all()


@pytest.mark.slow
def test_another_decoder_may_be_asked_for(make, photo):
  image, box = photo
  aligner = make(decode="argmax")

  points = aligner(image, box).landmarks[0]

  crop_from_image = crop.crop_from_image(box[0], aligner.setup.crop)
  cells = (affine.apply(crop_from_image, points) + 0.5) / 4 - 0.5
  np.testing.assert_allclose(cells, np.round(cells), atol=1e-3)
  assert make().setup.codec.decoding != "argmax"


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"decode": "best"}, "choose one of argmax"),
    ({"refine": -1}, "refine must be 0 or more"),
    ({"views": 0}, "views must be 1 or more"),
  ],
)
def test_impossible_options_are_refused(workdir, options, named):
  with pytest.raises(InputError, match=named):
    FaceAligner.from_checkpoint(workdir, **options)


def test_the_covariance_grows_with_the_square_of_the_image(make, photo):
  image, box = photo
  aligner = make()
  large = np.repeat(np.repeat(image, 4, 0), 4, 1)

  small_face, large_face = aligner(image, box), aligner(large, 4 * box + 1.5)

  ratios = np.trace(large_face.covariance[0], axis1=-2, axis2=-1) / np.trace(
    small_face.covariance[0], axis1=-2, axis2=-1
  )
  assert np.median(ratios) == pytest.approx(16, rel=0.1)


@pytest.mark.slow
def test_what_was_warmed_up_is_not_compiled_again(workdir, photo):
  aligner = FaceAligner.from_checkpoint(workdir, views=3, decode="argmax")

  aligner.warm_up(faces=2)  # 6 views: 4 and 2
  aligner._warming.result()
  compiled = aligner._predict._cache_size()
  aligner(photo[0], np.repeat(photo[1], 2, 0))

  assert aligner._predict._cache_size() == compiled >= 2


@pytest.mark.slow
def test_a_call_waits_for_the_warm_up_and_raises_what_went_wrong_in_it(workdir, photo, monkeypatch):
  aligner = FaceAligner.from_checkpoint(workdir)

  def fail(*_):
    time.sleep(0.1)
    raise MemoryError("while warming up")

  monkeypatch.setattr(aligner, "_predict", fail)
  aligner.warm_up()
  monkeypatch.undo()

  with pytest.raises(MemoryError, match="while warming up"):
    aligner(*photo)


@pytest.mark.parametrize("faces", [0, -2])
def test_a_warm_up_for_no_face_is_refused(make, faces):
  with pytest.raises(InputError, match=f"faces must be 1 or more, got {faces}"):
    make().warm_up(faces=faces)


@pytest.mark.slow
def test_a_program_that_ends_while_it_warms_up_ends_as_it_wants_to():
  program = (
    "from fal_jax.predict import FaceAligner\n"
    "FaceAligner.from_pretrained('free-68').warm_up()\n"
    "raise SystemExit(7)"
  )
  command = [sys.executable, "-c", program]
  ended = subprocess.run(
    command, cwd=tiny_dataset.ROOT, capture_output=True, timeout=120, check=False
  )
  assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"", b"")
