"""The area under the cumulative error curve as public code computes it.

For comparison with results that were published with these formulas. Ours is `metrics.auc`, exact;
every other variant below is off by an amount that depends on a step, on the errors or on the worst
face. N faces have errors e_i; t is the threshold; in percent. By name, what is computed and how it
deviates from "exact":

  exact      mean of max(0, 1 - e_i / t).
  simpson    Simpson's rule over the share of e_i <= x at x = 0, h, 2h, ..., h = 0.01 percentage
             points, divided by t. `np.arange(0, t + h, h)` of fractions has one point more than it
             should where rounding goes up (t = 5, 7; not 8, 10): then the grid ends at t + h, and
             the last strip, h times the share of faces below, is added on top: up to h / t, 0.2
             points of 100 at t = 5 and 0.14 at t = 7. An odd number of strips takes the mean of two
             rules that make the first or the last strip a trapezoid (SciPy's `even="avg"`). Each
             face is off by at most 2 h / 3 besides, either way.
             Seen in menpo/menpofit (with a step of the caller's), jhb86253817/PIPNet,
             ZhenglinZhou/STAR and their many forks.
  trapezoid  the same grid under the trapezoidal rule; each face off by at most h / 2 besides the
             last strip.
  fan        mean of the share of e_i < x at the 10 t first points x of 1,000 spread evenly over 0
             to 100: 0, 0.1001, ... A face loses the cell it lies in: low by half a cell in the
             mean, 0.05 / t, 0.7 points of 100 at t = 7.
             Seen in 1adrianb/2D-and-3D-face-alignment.
  luvli      area under straight lines through (e_(k), k / N), sorted, instead of under the
             staircase: high by (e_(m) - e_(1)) / (2 N t) for the m faces up to t, and a last piece;
             nothing for large N, several points for ten faces.
             Seen in LUVLi's pylib/calculate_auc_from_nme.py.
  spiga      Simpson's rule over 10,000 bins from the least to the greatest error, with what is
             reached at a bin's end put at its start, up to the last bin that starts below t: off by
             about a bin, (max - min) / 10,000, per face and at the end, over t; so one face that
             failed badly changes the result.
             Seen in andresprados/SPIGA.
  mdm        the share of e_i < t. Not an area at all: trigeorgis/mdm called it so, and its author
             agrees (its issue 15).

HRNet-Facial-Landmark-Detection and mmpose publish no area for faces.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from fal_jax import metrics
from fal_jax.errors import InputError

STEP = 1e-4  # as a fraction: 0.01 percentage points


def auc(errors: ArrayLike, threshold: float, *, variant: str) -> float:
  """Area under the cumulative error curve as one of the variants has it.

  Args:
    errors: (N,) percent.
    threshold: percent, where the curve ends.
    variant: a name of the list at the top of this file.

  Returns:
    The area as a fraction of the whole: 0..1, or a little above.

  Raises:
    InputError: no such variant, or errors without a distribution.
  """
  if variant not in VARIANTS:
    raise InputError(f"no AUC variant is called {variant!r}: choose one of {', '.join(VARIANTS)}")

  exact = metrics.auc(errors, threshold)  # also checks the arguments
  if variant == "exact":
    return exact
  return float(VARIANTS[variant](np.sort(np.asarray(errors, np.float64)), threshold))


def auc_of_all(errors: ArrayLike, threshold: float) -> dict[str, float]:
  """Every variant of the area by name.

  Args:
    errors: (N,) percent.
    threshold: percent, where the curve ends.

  Returns:
    variant -> fraction of the whole: 0..1, or a little above; without `spiga` where an error is
    infinite.
  """
  names = [name for name in VARIANTS if name != "spiga" or np.isfinite(errors).all()]
  return {variant: auc(errors, threshold, variant=variant) for variant in names}


def _grid(errors: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
  """The curve on the sampled grid.

  The grid is in fractions and made by the very call that public code uses: whether it overshoots is
  a matter of rounding.

  Args:
    errors: (N,) percent, sorted.
    threshold: percent.

  Returns:
    (M,) share of the errors up to each point, and the step as a fraction of the threshold.
  """
  x = np.arange(0, threshold / 100 + STEP, STEP)
  return np.searchsorted(errors / 100, x, side="right") / len(errors), 100 * STEP / threshold


def _simpson(errors: np.ndarray, threshold: float) -> float:
  share, step = _grid(errors, threshold)
  return _simpson_sum(share) * step


def _trapezoid(errors: np.ndarray, threshold: float) -> float:
  share, step = _grid(errors, threshold)
  return (share.sum() - (share[0] + share[-1]) / 2) * step


def _fan(errors: np.ndarray, threshold: float) -> float:
  first = max(1, round(10 * threshold))
  x = np.linspace(0, 1, 1000)[:first]
  return (np.searchsorted(errors / 100, x, side="left") / len(errors)).sum() / first


def _luvli(errors: np.ndarray, threshold: float) -> float:
  count = len(errors)
  level = np.arange(1, count + 1) / count
  inside = int(np.searchsorted(errors, threshold, side="right"))
  if not inside:
    return 0.0  # where the public code stops with an error

  area = np.trapezoid(level[:inside], errors[:inside])
  rest = threshold - errors[inside - 1]
  if inside == count:
    area += rest
  elif rest:
    area += rest * (level[inside - 1] + rest / (errors[inside] - errors[inside - 1]) / count / 2)
  return area / threshold


def _spiga(errors: np.ndarray, threshold: float) -> float:
  if not np.isfinite(errors).all():
    raise InputError(
      "the AUC variant 'spiga' has no meaning where an error is infinite: its bins reach to the "
      "greatest error"
    )
  if np.ptp(errors) < 1e-6:
    return _exact(errors, threshold)  # there is nothing to divide into bins

  counts, edges = np.histogram(errors, bins=10_000)
  starts = edges[:-1][edges[:-1] < threshold]
  if not len(starts):
    return 0.0

  share = np.cumsum(counts)[: len(starts)] / len(errors)
  area = _simpson_sum(share) * (edges[1] - edges[0])
  return (area + (threshold - starts[-1]) * (share[-1] == 1)) / threshold


def _mdm(errors: np.ndarray, threshold: float) -> float:
  return (errors < threshold).mean()


def _simpson_sum(y: np.ndarray) -> float:
  """Simpson's rule for points (M,) a step of 1 apart.

  Over an odd number of strips as SciPy's `simps` had it until version 1.11.
  """
  if len(y) % 2:
    return (y[0] + y[-1] + 4 * y[1:-1:2].sum() + 2 * y[2:-1:2].sum()) / 3 if len(y) > 1 else 0.0

  first, last = (y[0] + y[1]) / 2, (y[-2] + y[-1]) / 2
  return (_simpson_sum(y[:-1]) + last + _simpson_sum(y[1:]) + first) / 2


def _exact(errors: np.ndarray, threshold: float) -> float:
  return metrics.auc(errors, threshold)


VARIANTS: Mapping[str, Callable[[np.ndarray, float], float]] = {
  "exact": _exact,
  "simpson": _simpson,
  "trapezoid": _trapezoid,
  "fan": _fan,
  "luvli": _luvli,
  "spiga": _spiga,
  "mdm": _mdm,
}
