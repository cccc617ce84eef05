"""Metrics: values by hand, closed forms against numerical ones, and what counts."""

import numpy as np
import pytest

from fal_jax import landmarks, metrics
from fal_jax.errors import InputError


def _faces(n: int = 12, num: int = 68, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Predictions and annotations of n random faces of about 200 px, some 3 px apart."""
  rng = np.random.default_rng(seed)
  true = rng.uniform(0, 200, (n, num, 2))
  return true + rng.normal(0, 3, true.shape), true


def _face_19() -> np.ndarray:
  """One AFLW face whose normalisers are whole numbers; landmarks not named here are at (20, 20)."""
  face = np.full((1, 19, 2), 20.0)
  names = landmarks.MARKUPS[19].names
  places = {
    "right_eye_outer": (10, 10),
    "left_eye_outer": (40, 50),
    "right_pupil": (15, 20),
    "left_pupil": (20, 32),
    "right_brow_outer": (0, 0),  # with the chin, the corners of the box
    "chin": (45, 80),
  }
  for name, point in places.items():
    face[0, names.index(name)] = point
  return face


def test_normalisers_of_a_face_drawn_by_hand():
  norms = metrics.norms(_face_19(), 19)

  np.testing.assert_allclose(norms["ic"], [50], atol=1e-12)  # 30, 40
  np.testing.assert_allclose(norms["ip"], [13], atol=1e-12)  # 5, 12
  np.testing.assert_allclose(norms["box"], [60], atol=1e-12)  # 45 x 80
  np.testing.assert_allclose(norms["diag"], [np.sqrt(45**2 + 80**2)], atol=1e-12)


def test_the_eye_centre_of_the_68_is_the_mean_of_six_landmarks():
  _, true = _faces(3)
  expected = np.linalg.norm(true[:, 36:42].mean(1) - true[:, 42:48].mean(1), axis=-1)

  norms = metrics.norms(true, landmarks.MARKUPS[68])

  np.testing.assert_allclose(norms["ip"], expected, rtol=1e-12)


def test_a_given_box_replaces_that_of_the_landmarks_and_leaves_the_eyes_alone():
  _, true = _faces(2)
  boxes = [[10, 20, 40, 60], [5, 5, 5 + 12, 5 + 3]]

  tight, given = metrics.norms(true, 68), metrics.norms(true, 68, box=boxes)

  np.testing.assert_allclose(given["box"], [np.sqrt(1200), 6], rtol=1e-12)
  np.testing.assert_allclose(given["diag"], [50, np.hypot(12, 3)], rtol=1e-12)
  np.testing.assert_array_equal(given["ic"], tight["ic"])
  np.testing.assert_array_equal(given["ip"], tight["ip"])


def test_a_profile_has_no_normaliser_between_its_eyes():
  _, profile = _faces(2, 39)

  norms = metrics.norms(profile, 39)

  assert np.isnan(norms["ic"]).all()
  assert np.isnan(norms["ip"]).all()
  assert np.isfinite(norms["box"]).all()


def test_a_normaliser_whose_landmarks_are_missing_is_nan():
  face = np.repeat(_face_19(), 3, axis=0)
  face[0, 6] = np.nan  # no outer corner
  face[1] = np.nan

  norms = metrics.norms(face, 19)
  upside_down = metrics.norms(face, 19, box=[[0, 0, 4, 9], [4, 9, 0, 0], [np.nan] * 4])

  np.testing.assert_array_equal(np.isnan(norms["ic"]), [True, True, False])
  np.testing.assert_array_equal(np.isnan(norms["ip"]), [False, True, False])
  np.testing.assert_array_equal(np.isnan(norms["box"]), [False, True, False])
  np.testing.assert_array_equal(np.isnan(upside_down["box"]), [False, True, True])


def test_nme_of_errors_drawn_by_hand():
  true = np.array([[[0, 0], [10, 0]], [[5, 5], [7, 7]]], float)
  pred = true + np.array([[[3, 4], [0, 0]], [[0, -2], [6, 8]]])  # distances 5, 0 and 2, 10

  per_face = metrics.nme(pred, true, [50, 40])
  per_landmark = metrics.landmark_errors(pred, true, [50, 40])

  np.testing.assert_allclose(per_face, [5.0, 15.0], rtol=0, atol=1e-9)
  np.testing.assert_allclose(per_landmark, [7.5, 12.5], rtol=0, atol=1e-9)


def test_nme_of_a_shift_is_its_length_over_the_normaliser():
  _, true = _faces()
  norm = metrics.norms(true, 68)["ic"]

  errors = metrics.nme(true + np.array([3, -4]), true, norm)

  np.testing.assert_allclose(errors, 100 * 5 / norm, rtol=1e-9)


@pytest.mark.parametrize("name", ["ic", "ip", "box", "diag"])
def test_nme_does_not_change_with_scale_and_place_of_the_image(name):
  pred, true = _faces()
  moved_pred, moved_true = pred * 7.3 + [1e4, -20], true * 7.3 + [1e4, -20]

  before = metrics.nme(pred, true, metrics.norms(true, 68)[name])
  after = metrics.nme(moved_pred, moved_true, metrics.norms(moved_true, 68)[name])

  np.testing.assert_allclose(after, before, rtol=1e-9)


def test_nme_and_normalisers_do_not_change_in_the_mirror():
  pred, true = _faces(num=98)
  mirror, width = np.array([-1, 1]), np.array([255, 0])
  mirrored_pred, mirrored_true = (
    (points * mirror + width)[:, landmarks.MARKUPS[98].flip] for points in (pred, true)
  )

  before, after = metrics.norms(true, 98), metrics.norms(mirrored_true, 98)

  for name in before:
    np.testing.assert_allclose(after[name], before[name], rtol=1e-9)
    errors = metrics.nme(mirrored_pred, mirrored_true, after[name])
    np.testing.assert_allclose(errors, metrics.nme(pred, true, before[name]), rtol=1e-9)


def test_float32_input_is_computed_in_float64():
  pred, true = (points.astype(np.float32) for points in _faces())
  norm = metrics.norms(true, 68)["box"]

  errors = metrics.nme(pred, true, norm)

  assert errors.dtype == np.float64
  expected = metrics.nme(pred.astype(float), true.astype(float), norm)
  np.testing.assert_array_equal(errors, expected)


def test_landmarks_that_are_masked_or_not_annotated_do_not_count():
  pred, true = _faces(2)
  norm = metrics.norms(true, 68)["ic"]
  mask = np.ones((2, 68), bool)
  mask[0, 10:] = False
  expected = metrics.nme(pred[:, :10], true[:, :10], norm)[0]

  pred[0, 10:] = 1e9
  masked = metrics.nme(pred, true, norm, mask=mask)[0]
  true[0, 10:] = np.nan
  not_annotated = metrics.nme(pred, true, norm)[0]
  under_a_full_mask = metrics.nme(pred, true, norm, mask=np.ones_like(mask))[0]

  np.testing.assert_allclose(masked, expected, rtol=1e-12)
  np.testing.assert_allclose(not_annotated, expected, rtol=1e-12)
  np.testing.assert_allclose(under_a_full_mask, expected, rtol=1e-12)


def test_what_is_annotated_nowhere_has_no_error():
  """Neither a landmark that no face has, nor a face without landmarks."""
  pred, true = _faces(3)
  norm = metrics.norms(true, 68)["ic"]
  true[:, 4] = np.nan
  true[1] = np.nan

  per_landmark = metrics.landmark_errors(pred, true, norm)
  per_face = metrics.nme(pred, true, norm)

  np.testing.assert_array_equal(np.isnan(per_landmark), np.arange(68) == 4)
  np.testing.assert_array_equal(np.isnan(per_face), [False, True, False])


def test_the_mean_over_landmarks_equals_that_over_faces_when_all_are_annotated():
  pred, true = _faces()
  norm = metrics.norms(true, 68)["box"]

  per_landmark = metrics.landmark_errors(pred, true, norm)

  assert per_landmark.shape == (68,)
  np.testing.assert_allclose(per_landmark.mean(), metrics.nme(pred, true, norm).mean(), rtol=1e-12)


def test_the_error_of_a_region_is_that_of_its_landmarks_alone():
  _, true = _faces(4)
  norm = metrics.norms(true, 68)["ic"]
  pred = true.copy()
  pred[:, 48:68] += [0, 3]  # mouth
  pred[0, 36:42] += [4, 0]  # one right eye

  regions = metrics.region_errors(pred, true, norm, 68)

  names = ["jaw", "right_brow", "left_brow", "nose", "right_eye", "left_eye", "mouth"]
  assert list(regions) == names
  assert regions["mouth"] == pytest.approx((100 * 3 / norm).mean(), abs=1e-9)
  assert regions["right_eye"] == pytest.approx(100 * 4 / norm[0] / 4, abs=1e-9)
  assert regions["jaw"] == regions["nose"] == 0


def test_a_region_that_is_annotated_nowhere_is_left_out():
  pred, true = _faces(4)
  norm = metrics.norms(true, 68)["ic"]
  true[:, 48:68] = np.nan

  assert "mouth" not in metrics.region_errors(pred, true, norm, 68)


def test_regions_weighted_by_their_landmarks_make_the_whole():
  pred, true = _faces(num=98)
  norm = metrics.norms(true, 98)["box"]
  regions = landmarks.MARKUPS[98].regions

  means = metrics.region_errors(pred, true, norm, landmarks.MARKUPS[98])

  whole = sum(means[region] * len(members) for region, members in regions.items()) / 98
  assert whole == pytest.approx(metrics.nme(pred, true, norm).mean(), rel=1e-12)


def test_percentiles_of_a_hundred_and_one_errors_known_by_heart():
  percentiles = metrics.percentiles(np.random.default_rng(0).permutation(101) / 10)

  expected = {"median": 5.0, "p90": 9.0, "p95": 9.5, "max": 10.0}
  assert percentiles == pytest.approx(expected, abs=1e-12)
  assert metrics.percentiles([3.0]) == dict.fromkeys(expected, 3.0)
  with pytest.raises(InputError, match="NaN"):
    metrics.percentiles([1.0, np.nan])


def test_a_prediction_far_beyond_any_image_counts_as_a_failure():
  """Its square would overflow, and a face dropped as not finite would improve the mean."""
  pred, true = _faces(4)
  pred[1, 0] = 1e200

  errors, valid = metrics.valid_errors(pred, true, metrics.norms(true, 68)["ic"])

  assert valid.all()
  assert 1e195 < errors[1] < np.inf
  assert metrics.failure_rate(errors, 10) >= 25


@pytest.mark.parametrize("threshold", [7, 8, 10, 3.3])
def test_auc_is_the_integral_of_the_cumulative_error_curve(threshold):
  errors = np.random.default_rng(1).gamma(2, 2, 400)
  centres = (np.arange(1_000_000) + 0.5) / 1_000_000 * threshold
  reached = np.searchsorted(np.sort(errors), centres, side="right") / len(errors)

  assert metrics.auc(errors, threshold) == pytest.approx(reached.mean(), abs=1e-6)


def test_auc_of_errors_known_by_heart():
  assert metrics.auc([0, 0], 10) == 1
  assert metrics.auc([10, 11, 1e6], 10) == 0
  assert metrics.auc([2.5, 5, 20], 10) == pytest.approx((0.75 + 0.5) / 3, abs=1e-12)


def test_the_staircase_encloses_exactly_the_auc():
  errors = np.random.default_rng(2).gamma(2, 2, 57)
  errors[:5] = 3.0  # a step of five

  x, y = metrics.ced(errors, 8)

  assert (x[0], x[-1], y[0]) == (0, 8, 0)
  assert (np.diff(x) >= 0).all()
  assert (np.diff(y) >= 0).all()
  assert np.trapezoid(y, x) / 8 == pytest.approx(metrics.auc(errors, 8), abs=1e-12)
  assert 100 * (1 - y[-1]) == pytest.approx(metrics.failure_rate(errors, 8), abs=1e-9)


def test_an_error_equal_to_the_threshold_is_not_a_failure():
  assert metrics.failure_rate([10.0, 10.0, 4.0, 4.0], 10) == 0
  assert metrics.failure_rate([np.nextafter(10.0, 11), 10.0, 4.0, 4.0], 10) == 25

  x, y = metrics.ced([10.0], 10)
  np.testing.assert_array_equal((x, y), ([0, 10, 10, 10], [0, 0, 1, 1]))


def test_a_face_beyond_all_bounds_counts_as_a_failure():
  assert metrics.failure_rate([np.inf, 1.0], 10) == 50
  assert metrics.auc([np.inf, 0.0], 10) == 0.5


def test_the_mean_of_what_faces_contribute_is_exactly_the_metric():
  errors = np.random.default_rng(3).gamma(2, 4, 57)
  assert errors.max() > metrics.CATASTROPHIC

  contributions = list(metrics.per_face(errors, "box", (7, 2.5)))

  means = {part.name: part.percent * part.values.mean() for part in contributions}
  assert means == {
    "nme_box": errors.mean(),
    "auc_box_7": 100 * metrics.auc(errors, 7),
    "fr_box_7": metrics.failure_rate(errors, 7),
    "auc_box_2.5": 100 * metrics.auc(errors, 2.5),
    "fr_box_2.5": metrics.failure_rate(errors, 2.5),
    "catastrophic_box": metrics.failure_rate(errors, 20),
  }
  assert metrics.metric_names("box", (7, 2.5)) == list(means)


def test_a_prediction_that_is_not_finite_is_an_error_that_names_its_rows():
  pred, true = _faces(20)
  pred[[3, 17], 5, 0] = np.nan, np.inf

  with pytest.raises(InputError, match=r"rows 3, 17 are not finite"):
    metrics.nme(pred, true, np.ones(20))
  with pytest.raises(InputError, match=r"rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more"):
    metrics.nme(np.full_like(true, np.nan), true, np.ones(20))


def test_a_face_improves_only_if_its_error_is_smaller():
  assert metrics.percent_improved([1, 2, 3, 5], [2, 2, 4, 4]) == 50
  assert metrics.percent_improved([0.5], [1]) == 100


def _nme(pred=None, true=None, norm=None, **options):
  """NME of four faces, some arguments replaced."""
  faces = _faces(4)
  pred, true = (faces[0] if pred is None else pred), (faces[1] if true is None else true)
  return metrics.nme(pred, true, np.ones(4) if norm is None else norm, **options)


MISTAKES = {
  r"pred has shape \(4, 67, 2\) but true \(4, 68, 2\)": lambda: _nme(pred=_faces(4, 67)[0]),
  r"pred has shape \(68, 2\)": lambda: _nme(pred=np.zeros((68, 2))),
  r"norm has shape \(3,\), expected \(4,\)": lambda: _nme(norm=np.ones(3)),
  r"mask has shape \(68,\), expected \(4, 68\)": lambda: _nme(mask=np.ones(68)),
  r"68 landmarks per face but the mark-up has 98": lambda: metrics.norms(_faces(4)[1], 98),
  r"box has shape \(4,\), expected \(4, 4\)": lambda: metrics.norms(
    _faces(4)[1], 68, box=[0, 0, 1, 1]
  ),
  r"threshold is 0": lambda: metrics.auc(np.ones(4), 0),
  r"at least one face": lambda: metrics.auc([], 10),
  r"2 errors cannot be compared with 3": lambda: metrics.percent_improved([1, 2], [1, 2, 3]),
  r"errors of 1 faces are NaN \(first row 2\)": lambda: metrics.failure_rate([1, 2, np.nan], 10),
}


@pytest.mark.parametrize("answer", MISTAKES)
def test_mistakes_are_answered_with_what_was_got_and_expected(answer):
  with pytest.raises(InputError, match=answer):
    MISTAKES[answer]()
