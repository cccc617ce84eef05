"""Uncertainties against errors: perfect, useless, and calibrated ones whose results are known."""

import json
import warnings

import numpy as np
import pytest

from fal_jax.scoring import confidence

ERRORS = np.array([4.0, 1.0, 3.0, 2.0])


def rayleigh(n: int) -> tuple[np.ndarray, np.ndarray]:
  """(n,) predicted and (n,) true errors of Gaussians in the plane, whose widths are known."""
  rng = np.random.default_rng(0)
  sigma = rng.uniform(0.5, 4.0, n)
  return np.sqrt(2) * sigma, np.linalg.norm(sigma[:, None] * rng.standard_normal((n, 2)), axis=-1)


def test_perfect_certainty_is_the_oracle_s_curve():
  np.testing.assert_allclose(confidence.risks(ERRORS, ERRORS), [1.0, 1.5, 2.0, 2.5])
  np.testing.assert_allclose(confidence.risks(np.exp(ERRORS), ERRORS), [1.0, 1.5, 2.0, 2.5])
  assert confidence.aurc(ERRORS, ERRORS) == 1.75
  assert confidence.gain(ERRORS**2, ERRORS) == pytest.approx(100)
  assert confidence.spearman(ERRORS**2, ERRORS) == pytest.approx(1)


def test_a_constant_certainty_is_a_random_order_in_expectation():
  constant = np.ones(4)
  np.testing.assert_allclose(confidence.risks(constant, ERRORS), 2.5)
  assert confidence.gain(constant, ERRORS) == pytest.approx(0)
  assert confidence.spearman(constant, ERRORS) is None

  rng = np.random.default_rng(0)
  orders = [confidence.aurc(rng.permutation(4).astype(float), ERRORS) for _ in range(1000)]
  assert np.mean(orders) == pytest.approx(confidence.aurc(constant, ERRORS), abs=0.06)


def test_the_worst_order_is_worse_than_a_random_one_and_ties_are_averaged():
  np.testing.assert_allclose(confidence.risks(-ERRORS, ERRORS), [4.0, 3.5, 3.0, 2.5])
  assert confidence.gain(-ERRORS, ERRORS) == pytest.approx(-100)
  # 1 and 4 are equally certain, then come 2 and 3.
  tied = np.array([0.0, 0.0, 2.0, 1.0])
  np.testing.assert_allclose(confidence.risks(tied, ERRORS), [2.5, 2.5, 7 / 3, 2.5])


def test_gaussians_of_known_width_lie_on_the_diagonal():
  predicted, true = confidence.reliability(*rayleigh(40_000))

  np.testing.assert_allclose(true, predicted, rtol=0.04)
  assert (np.diff(predicted) > 0).all()
  assert confidence.calibration_error(predicted, true) < 3
  # Twice as sure as it may be: half of what the error is.
  assert confidence.calibration_error(predicted / 2, true) == pytest.approx(100, abs=5)


def test_a_wrong_scale_is_found_and_taken_out_and_a_missing_annotation_does_not_count():
  predicted, error = (values.reshape(-1, 4) for values in rayleigh(4_000))
  error[::3, 1] = np.nan
  predicted[::3, 1] = 1e9

  summary = confidence.summarise(predicted / 3, error)

  assert summary["scale"] == pytest.approx(3, rel=0.05)
  assert summary["ence"] == pytest.approx(200, abs=20)
  assert summary["ence_scaled"] < 6
  assert summary["landmarks"]["random"] == pytest.approx(np.nanmean(error))
  assert summary["landmarks"]["risk"][-1] == pytest.approx(np.nanmean(error))
  assert summary["landmarks"]["oracle"] < summary["landmarks"]["aurc"] < np.nanmean(error)
  assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_certainty_about_landmarks_is_told_from_certainty_about_faces():
  error = np.arange(1.0, 9.0)[:, None] * [[1.0, 100.0]]  # the second landmark is always worse
  uncertainty = np.array([[1.0, 2.0]]) + 0 * error

  correlations = confidence.summarise(uncertainty, error)["spearman"]

  assert correlations["landmarks"] > 0.8
  assert correlations["same_landmark"] is None and correlations["faces"] is None


def test_intervals_draw_whole_faces():
  rng = np.random.default_rng(0)
  alike = np.repeat(rng.uniform(1, 5, (30, 1)), 10, 1)  # ten landmarks that are wrong together
  uncertainty = alike + rng.normal(0, 2, (30, 1))

  (of_landmarks, of_faces) = confidence.gain_intervals(uncertainty, alike)

  gain = confidence.gain(uncertainty[:, 0], alike[:, 0])
  np.testing.assert_allclose(of_landmarks, of_faces, atol=4)
  assert of_faces[0] < gain < of_faces[1] and np.ptp(of_faces) > 20


def test_two_uncertainties_of_the_same_faces_are_compared_draw_by_draw():
  rng = np.random.default_rng(0)
  error = rng.uniform(1, 5, (40, 6))
  rough = error + rng.normal(0, 2, error.shape)
  finer = error + rng.normal(0, 1.6, error.shape)

  better = confidence.compare_gains(finer, rough, error)

  for name, (one, other, true) in {
    "landmarks": (finer.ravel(), rough.ravel(), error.ravel()),
    "faces": (finer.mean(1), rough.mean(1), error.mean(1)),
  }.items():
    expected = confidence.gain(one, true) - confidence.gain(other, true)
    assert better[name]["gain"] == pytest.approx(expected)
    assert better[name]["interval"][0] < expected < better[name]["interval"][1]

  same = confidence.compare_gains(rough, 3 * rough, error)
  assert all(part == {"gain": 0.0, "interval": [0.0, 0.0]} for part in same.values())
  back = confidence.compare_gains(rough, finer, error)["landmarks"]["interval"]
  assert back == pytest.approx([-end for end in reversed(better["landmarks"]["interval"])])
  alone = np.ptp(confidence.gain_intervals(finer, error)[0])
  near = confidence.compare_gains(finer, finer + rng.normal(0, 0.1, error.shape), error)
  assert np.ptp(near["landmarks"]["interval"]) < alone / 3


def test_a_network_that_claims_to_be_without_error_has_no_scale():
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    summary = confidence.summarise(np.zeros((8, 3)), np.ones((8, 3)))
  assert summary["scale"] is summary["ence"] is summary["ence_scaled"] is None
  assert summary["landmarks"]["gain"] == 0


def test_the_height_of_a_mean_of_gaussians_gives_their_spread_away():
  sigma, spread = 6.0, 4.0
  places = np.random.default_rng(0).normal(0, spread, (200_000, 2))
  # The mean heatmap of a landmark that lies anywhere there, at its centre.
  height = np.exp(-(places**2).sum(-1) / (2 * sigma**2)).mean()

  predicted = confidence.error_of_score(np.array([height, 1.0, 1.2, 0.0]), sigma=sigma)

  assert predicted[0] == pytest.approx(np.sqrt((places**2).sum(-1).mean()), rel=0.01)
  assert 0 < predicted[2] < predicted[1] < 0.05 * sigma  # 1 and above is certain
  assert predicted[3] > 40 * sigma and np.isfinite(predicted[3])


def test_the_trace_of_a_covariance_is_the_mean_squared_distance():
  points = np.random.default_rng(0).multivariate_normal([0, 0], [[4, 1], [1, 9]], 50_000)
  predicted = confidence.error_of_covariance(np.array([[4.0, 1.0], [1.0, 9.0]]))
  assert predicted == pytest.approx(np.sqrt((points**2).sum(-1).mean()), rel=0.01)
