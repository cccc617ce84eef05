"""How far the mean shape agrees with the sides and the mirror pairs of its mark-up."""

import re
from typing import Any, Literal

import numpy as np

from fal_jax import metrics
from fal_jax.doctor import procrustes
from fal_jax.landmarks import Markup

# Cross product of the directions across and down the face, as a fraction of the shape's size
# squared: below this, the face is turned too far to the side to tell.
_MIN_TURN = 0.05
_MIN_ARM = 0.2  # in units of the shape: what tells a direction is at least this far apart
_LEFT, _RIGHT = re.compile(r"(?<![a-z])left"), re.compile(r"(?<![a-z])right")
_UPPER, _LOWER = re.compile("eye|brow|pupil"), re.compile("mouth|lip|chin")
_FLAT = 0.2  # of a box: its size, the square root of the area, as a fraction of the diagonal
_MIN_GAP = 0.02  # as a fraction of the shape's size: more than annotators are off by


def has_no_pairs(markup: Markup) -> bool:
  """Whether every landmark is its own mirror image, as in profiles."""
  return bool((markup.flip == np.arange(markup.num)).all())


def sides(mean: np.ndarray, markup: Markup) -> Literal["right", "exchanged"] | None:
  """Whether landmarks named right_ lie where a person's right is.

  It does not depend on the shape's rotation: only mirroring exchanges the sides.

  Args:
    mean: (K, 2) mean shape.
    markup: the mark-up; its names tell sides, and what is up and down.

  Returns:
    None where the names do not tell.
  """

  across = _centre(mean, markup, _LEFT) - _centre(mean, markup, _RIGHT)
  down = _centre(mean, markup, _LOWER) - _centre(mean, markup, _UPPER)

  turn = across[0] * down[1] - across[1] * down[0]
  if not abs(turn) > _MIN_TURN:  # or NaN
    return None
  return "right" if turn > 0 else "exchanged"


def roll(mean: np.ndarray, markup: Markup) -> float | None:
  """How far the mean shape is from upright.

  Args:
    mean: (K, 2) mean shape.
    markup: the mark-up; its names tell what is up and down, or else left and right, or else its
      pairs what is level.

  Returns:
    Degrees from -180 to 180, clockwise as the image is seen; by pairs from -90 to 90, since they do
    not tell top from bottom; None where the mark-up tells nothing.
  """
  down = _centre(mean, markup, _LOWER) - _centre(mean, markup, _UPPER)
  if np.hypot(*down) > _MIN_ARM:
    return float(np.degrees(np.arctan2(-down[0], down[1])))

  across = _centre(mean, markup, _LEFT) - _centre(mean, markup, _RIGHT)
  if np.hypot(*across) > _MIN_ARM:
    return float(np.degrees(np.arctan2(across[1], across[0])))

  # Twice the angle of each pair, so that it does not matter which of the two comes first.
  arms = (mean[markup.flip] - mean)[markup.flip > np.arange(markup.num)]
  twice = np.nansum((arms[:, 0] + 1j * arms[:, 1]) ** 2)
  return float(np.degrees(np.angle(twice)) / 2) if abs(twice) > _MIN_ARM**2 else None


def describe_shape(mean: np.ndarray, markup: Markup) -> dict[str, Any]:
  """The mean shape and how far it agrees with the mark-up, ready for JSON.

  Args:
    mean: (K, 2), see `procrustes.mean_shape`.
    markup: the mark-up.

  Returns:
    `mean` (K, 2), `mirror` (K, 2) its mirror image under the flip permutation; `sides`: "right",
    "exchanged" or None where the mark-up does not tell; `asymmetry_percent` and `worst_percent` of
    `unit`; `better_partners`: [k, the landmark that is more likely its mirror image]; and
    `roll_degrees`, see `roll`.
  """
  size, unit = _size(mean, markup)
  shape: dict[str, Any] = {
    "mean": _to_lists(mean),
    "unit": unit,
    "sides": None,
    "asymmetry_percent": None,
    "worst_percent": None,
    "better_partners": [],
    "mirror": None,
    "roll_degrees": roll(mean, markup),
  }
  if has_no_pairs(markup):
    return shape

  mirror, distance, nearest, gap = procrustes.mirror_disagreement(mean, markup.flip)
  if np.isfinite(distance).any():
    # Twice as near, and the partner not merely inaccurate: neighbours on a dense jaw are not better
    # partners.
    better = (gap < distance / 2) & (distance > _MIN_GAP * size) & (nearest != markup.flip)
    shape |= {
      "mirror": _to_lists(mirror),
      "asymmetry_percent": 100 * float(np.nanmean(distance)) / size,
      "worst_percent": 100 * float(np.nanmax(distance)) / size,
      "better_partners": [[int(k), int(nearest[k])] for k in np.flatnonzero(better)],
    }
  return shape | {"sides": sides(mean, markup)}


def _centre(mean: np.ndarray, markup: Markup, words: re.Pattern[str]) -> np.ndarray:
  """(2,) mean of the known landmarks whose name holds one of the words; NaN if none does."""
  rows = [
    k
    for k, name in enumerate(markup.names)
    if words.search(name.lower()) and np.isfinite(mean[k]).all()
  ]
  return mean[rows].mean(0) if rows else np.full(2, np.nan)


def _size(mean: np.ndarray, markup: Markup) -> tuple[float, str]:
  """The size of a shape (K, 2), in its own unit, and what was measured."""
  if eyes := markup.outer_eyes:
    distance = float(np.linalg.norm(mean[eyes[1]] - mean[eyes[0]]))
    if np.isfinite(distance):
      return distance, "the distance of the outer eye corners"
  norms = metrics.norms(mean[None], markup)
  box, diagonal = float(norms["box"][0]), float(norms["diag"][0])
  if box < _FLAT * diagonal:  # landmarks on one line, as two eyes are
    return diagonal, "the box's diagonal"
  return box, "the box's size"


def _to_lists(points: np.ndarray) -> list[list[float] | None]:
  """Points (K, 2) rounded, for JSON; None where unknown."""
  return [
    [round(float(x), 5), round(float(y), 5)] if np.isfinite([x, y]).all() else None
    for x, y in points
  ]
