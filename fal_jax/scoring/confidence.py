"""Whether a network knows how wrong it is: predicted errors beside true ones.

What predicts an error is called its uncertainty here, the larger the less certain. Errors and
uncertainties are in percent of a normaliser, of landmarks or of faces.
"""

from typing import Any

import numpy as np
from scipy import stats

BINS = 10
RESAMPLES = 200  # of faces, for intervals
COVERAGES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)  # percent
# Where the formula ends: a peak of 1 would claim to be certain to the last bit.
_SCORE_LIMITS = (1e-3, 0.999)


def error_of_score(scores: np.ndarray, *, sigma: float) -> np.ndarray:
  """The error that a peak's height stands for.

  A network that learns heatmaps by squared error predicts their mean over all places where the
  landmark may be. Where these are a Gaussian of variance s^2 along each axis, the mean of Gaussians
  of height 1 and width sigma is one of width sqrt(sigma^2 + s^2), and of height
  h = sigma^2 / (sigma^2 + s^2). So s^2 = sigma^2 (1 / h - 1), and 2 s^2 is the mean squared
  distance. The derivation is ours.

  Args:
    scores: (...,) heights of peaks. Below 0.001 they count as that; above 0.999 the error of that
      is divided by the height, so that its order stays the scores'.
    sigma: width of the Gaussians that the network was taught, px.

  Returns:
    (...,) float64, root of the expected squared distance, px.
  """
  scores = np.asarray(scores, np.float64)
  height = np.clip(scores, *_SCORE_LIMITS)
  return sigma * np.sqrt(2 * (1 / height - 1)) / np.maximum(scores / _SCORE_LIMITS[1], 1)


def error_of_covariance(covariance: np.ndarray) -> np.ndarray:
  """The error that a covariance stands for.

  Args:
    covariance: (..., 2, 2) px squared.

  Returns:
    (...,) float64, root of its trace: of the expected squared distance, px.
  """
  return np.sqrt(np.trace(np.asarray(covariance, np.float64), axis1=-2, axis2=-1))


def reliability(
  uncertainty: np.ndarray, error: np.ndarray, *, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray]:
  """Predicted and true errors in bins of equally many, from the most to the least certain.

  Both are roots of mean squares, since a variance predicts a squared error: where it is right, the
  two are equal in every bin.

  Source: Levi et al., Evaluating and Calibrating Uncertainty Prediction in Regression Tasks,
  Sensors 2022 (arXiv 1905.11659): its RMV and RMSE.

  Args:
    uncertainty: (M,) predicted root of the mean squared error.
    error: (M,) true error, same unit.
    bins: J, how many; no more than there are errors.

  Returns:
    predicted: (J,) float64.
    true: (J,) float64.
  """
  parts = np.array_split(np.argsort(uncertainty, kind="stable"), min(bins, len(error)))
  predicted, true = (
    np.array([np.sqrt(np.mean(np.square(values[part]))) for part in parts])
    for values in (uncertainty, error)
  )
  return predicted, true


def calibration_error(predicted: np.ndarray, true: np.ndarray) -> float | None:
  """The expected normalised calibration error: how far a reliability curve is from the diagonal.

  Source: Levi et al. 2022: ENCE, the mean of |predicted - true| / predicted over bins.

  Args:
    predicted: (J,) from `reliability`.
    true: (J,) from `reliability`.

  Returns:
    Percent; 0 is perfect. None where a bin is said to be without any error.
  """
  if not predicted.all():
    return None
  return float(100 * np.mean(np.abs(predicted - true) / predicted))


def risks(uncertainty: np.ndarray, error: np.ndarray) -> np.ndarray:
  """The mean error of the m most certain, for each m: the risk-coverage curve.

  Of equally certain ones any may come first; their order is averaged over, so that a constant
  uncertainty gives the mean of all at every coverage, as a random order does in expectation. With
  the errors themselves as uncertainty it is the oracle's curve, the lowest that there is.

  Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017.

  Args:
    uncertainty: (M,) the larger the less certain.
    error: (M,) the risk of each.

  Returns:
    (M,) float64, at coverages 1 / M, 2 / M, ..., 1.
  """
  order = np.argsort(uncertainty, kind="stable")
  _, member, count = np.unique(uncertainty[order], return_inverse=True, return_counts=True)
  means = np.bincount(member, error[order]) / count  # of the equally certain
  return np.cumsum(means[member]) / np.arange(1, len(error) + 1)


def aurc(uncertainty: np.ndarray, error: np.ndarray) -> float:
  """The area under the risk-coverage curve: the mean of `risks`.

  Source: Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural
  Classifiers, ICLR 2019.

  Args:
    uncertainty: (M,) the larger the less certain.
    error: (M,) the risk of each.

  Returns:
    In the unit of the errors; the smaller, the better it is known which are wrong.
  """
  return float(risks(uncertainty, error).mean())


def gain(uncertainty: np.ndarray, error: np.ndarray) -> float:
  """How much of what the oracle's order saves against a random one this order saves.

  Args:
    uncertainty: (M,) the larger the less certain.
    error: (M,) the risk of each.

  Returns:
    Percent: 100 for the oracle's order, 0 for a random one, negative for a worse one; 0 where all
    errors are equal.
  """
  random, oracle = float(error.mean()), aurc(error, error)
  if random <= oracle:
    return 0.0
  return 100 * (random - aurc(uncertainty, error)) / (random - oracle)


def gain_intervals(
  uncertainty: np.ndarray,
  error: np.ndarray,
  *,
  minus: np.ndarray | None = None,
  seed: int = 0,
  resamples: int = RESAMPLES,
) -> np.ndarray:
  """95 % bootstrap intervals of the gains of `summarise`, or of how two of them differ.

  Faces are drawn, not landmarks: those of one face are wrong together.

  Args:
    uncertainty: (N, K) as in `summarise`.
    error: (N, K) as in `summarise`.
    minus: (N, K) another uncertainty, whose gains are subtracted in every draw.
    seed: of the draws; the same seed draws the same faces.
    resamples: how many times N faces are drawn with replacement.

  Returns:
    (2, 2) float64, lower and upper end, percent: of landmarks, and of faces.
  """
  rng = np.random.default_rng(seed)
  gains = np.empty((resamples, 2))
  for resample in range(resamples):
    rows = rng.integers(len(error), size=len(error))
    gains[resample] = _gains(uncertainty[rows], error[rows])
    if minus is not None:
      gains[resample] -= _gains(minus[rows], error[rows])
  return np.quantile(gains, [0.025, 0.975], axis=0).T


def compare_gains(
  uncertainty: np.ndarray, reference: np.ndarray, error: np.ndarray
) -> dict[str, dict[str, Any]]:
  """How much more an uncertainty gains than another one of the same predictions.

  Args:
    uncertainty: (N, K) as in `summarise`.
    reference: (N, K) likewise, the other one.
    error: (N, K) as in `summarise`.

  Returns:
    A mapping ready for JSON, percentage points: for `landmarks` and for `faces` the difference in
    `gain` and its 95 % `interval`, of the same draws of faces for both.
  """
  difference = _gains(uncertainty, error) - _gains(reference, error)
  ends = gain_intervals(uncertainty, error, minus=reference)
  return {
    name: {"gain": float(gained), "interval": of_it.tolist()}
    for name, gained, of_it in zip(("landmarks", "faces"), difference, ends, strict=True)
  }


def spearman(uncertainty: np.ndarray, error: np.ndarray) -> float | None:
  """Spearman's rank correlation.

  Args:
    uncertainty: (M,) the larger the less certain.
    error: (M,).

  Returns:
    -1 to 1; None where all of one of them are equal.
  """
  ranks = np.stack([stats.rankdata(values) for values in (uncertainty, error)])
  if not (np.ptp(ranks, axis=1) > 0).all():
    return None
  return float(np.corrcoef(ranks)[0, 1])


def summarise(uncertainty: np.ndarray, error: np.ndarray) -> dict[str, Any]:
  """All that an uncertainty is worth.

  Args:
    uncertainty: (N, K) predicted root of the mean squared error of each landmark, percent.
    error: (N, K) true error, percent; NaN where not annotated, which does not count. Each face has
      an annotated landmark.

  Returns:
    A mapping ready for JSON, percent where not a correlation:
      spearman: over `landmarks`, all in one; over faces for one landmark, mean over landmarks
        (`same_landmark`); and over `faces`, whose errors and uncertainties are the means of their
        landmarks
      reliability: `predicted` and `true`, of landmarks
      ence: `calibration_error` of that; `ence_scaled`, after all uncertainties are multiplied by
        `scale`, the root of the mean squared error over that of the mean squared uncertainty; None
        where uncertainties are 0
      landmarks, faces: `aurc`, that of the `oracle` and of a `random` order, `gain` and its
        `interval`, and the mean errors `risk` at `COVERAGES`, with the oracle's, `oracle_risk`
  """
  known = np.isfinite(error)
  of_landmarks, of_faces = _landmarks_and_faces(uncertainty, error)
  one_by_one = [
    spearman(uncertainty[rows, k], error[rows, k]) for k, rows in enumerate(known.T) if rows.any()
  ]
  correlations = [value for value in one_by_one if value is not None]

  predicted, true = reliability(*of_landmarks)
  intervals = gain_intervals(uncertainty, error).tolist()
  claimed = _root_mean_square(of_landmarks[0])
  scale = _root_mean_square(of_landmarks[1]) / claimed if claimed else None
  return {
    "spearman": {
      "landmarks": spearman(*of_landmarks),
      "same_landmark": float(np.mean(correlations)) if correlations else None,
      "faces": spearman(*of_faces),
    },
    "reliability": {"predicted": predicted.tolist(), "true": true.tolist()},
    "ence": calibration_error(predicted, true),
    "scale": scale,
    "ence_scaled": None if scale is None else calibration_error(scale * predicted, true),
    "landmarks": {**_coverage(*of_landmarks), "interval": intervals[0]},
    "faces": {**_coverage(*of_faces), "interval": intervals[1]},
  }


def _landmarks_and_faces(
  uncertainty: np.ndarray, error: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
  """Uncertainties and errors (N, K) of the M annotated landmarks, (M,), and of faces, (N,)."""
  known = np.isfinite(error)
  hidden = np.where(known, uncertainty, np.nan)
  of_faces = np.nanmean(hidden, 1), np.nanmean(error, 1)
  return (uncertainty[known], error[known]), of_faces


def _gains(uncertainty: np.ndarray, error: np.ndarray) -> np.ndarray:
  """Gains (2,) of landmarks and of faces; arguments (N, K)."""
  return np.array([gain(*pair) for pair in _landmarks_and_faces(uncertainty, error)])


def _coverage(uncertainty: np.ndarray, error: np.ndarray) -> dict[str, Any]:
  """What `summarise` says of M uncertainties and errors, (M,) each."""
  at = np.maximum(np.round(np.array(COVERAGES) / 100 * len(error)).astype(int), 1) - 1
  return {
    "aurc": aurc(uncertainty, error),
    "oracle": aurc(error, error),
    "random": float(error.mean()),
    "gain": gain(uncertainty, error),
    "risk": risks(uncertainty, error)[at].tolist(),
    "oracle_risk": risks(error, error)[at].tolist(),
  }


def _root_mean_square(values: np.ndarray) -> float:
  return float(np.sqrt(np.mean(np.square(values))))
