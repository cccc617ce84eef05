"""How a network's error grows with each thing that makes a face harder: curves of conditions."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fal_jax.crop import BoxKind, CropRule
from fal_jax.data import Source
from fal_jax.robustness import compare, conditions
from fal_jax.robustness.conditions import Condition

# The ten conditions of `conditions.CONDITIONS` that have an amount are among these.
ROTATIONS = (-60, -45, -30, -20, -10, 10, 20, 30, 45, 60)  # degrees
SCALES = (0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5)
SHIFTS = (5, 10, 15, 20, 25)  # percent of the box's larger side
BLURS = (0.5, 1, 2, 3, 4, 6)  # percent of the box's larger side
SIDES = (96, 64, 48, 32, 24, 16)  # px of the box's larger side
NOISES = (5, 10, 15, 20, 30)  # percent of white
GAMMAS = (0.2, 0.35, 0.5, 0.7, 1.4, 2, 3, 5)
COVERS = (5, 10, 20, 30, 40, 50)  # percent of the box's square


@dataclasses.dataclass(frozen=True)
class Factor:
  """One thing that varies.

  Attributes:
    name: of the factor.
    unit: what its values are, for an axis.
    none: the value at which nothing changes.
    points: value -> the conditions of it, over which results are averaged; in order of the values.
    is_log: whether values that differ by one factor are equally far apart.
  """

  name: str
  unit: str
  none: float
  points: Mapping[float, tuple[Condition, ...]]
  is_log: bool = False


def factors(rule: CropRule) -> tuple[Factor, ...]:
  """All factors, from gentle to hard.

  Args:
    rule: of the network. What happens to pixels is measured in the face's size and is therefore the
      same for networks of different inputs; but for noise, which is of each pixel of the input.

  Returns:
    The factors; resolutions above that of the crop are left out.
  """

  def each(
    values: Sequence[float], make: Callable[..., Condition], **options: CropRule
  ) -> dict[float, tuple[Condition, ...]]:
    return {value: (make(value, **options),) for value in values}

  sides = [side for side in SIDES if side < rule.face]
  moved = {float(value): conditions.moved(value / 100) for value in SHIFTS}
  blurred = each(BLURS, conditions.blurred, rule=rule)
  coarse = each(sides, conditions.coarse, rule=rule)
  covered = each(COVERS, conditions.covered, rule=rule)
  noisy = each(NOISES, conditions.noisy)
  exposed = each(GAMMAS, conditions.exposed)
  return (
    Factor("rotation", "degrees", 0, each(ROTATIONS, conditions.turned)),
    Factor("size of the box", "times the true one", 1, each(SCALES, conditions.scaled)),
    Factor("shift of the box", "% of its larger side", 0, moved),
    Factor("occlusion", "% of the box's square, grey", 0, covered),
    Factor("blur", "sigma, % of the box's larger side", 0, blurred),
    Factor("resolution", "box's larger side, px", rule.face, coarse, is_log=True),
    Factor("noise", "deviation, % of white", 0, noisy),
    Factor("gamma", "exponent", 1, exposed, is_log=True),
  )


def curves(
  predict: compare.Predict,
  measure: compare.Measure,
  source: Source,
  own: Mapping[str, Any],
  *,
  box: BoxKind,
  norm: str,
  rule: CropRule,
) -> Iterator[dict[str, Any]]:
  """The curves of one network on one split, factor by factor.

  Args:
    predict: runs the network.
    measure: gives the metrics of predictions by name, percent.
    source: the split.
    own: its metrics without any condition.
    box: the kind of box that is displaced.
    norm: the normaliser.
    rule: how boxes become crops.

  Yields:
    For each factor, ready for JSON: `name`, `unit`, `none`, `is_log`, and `points` in the order of
    their `value`, `none` among them: `nme` and `catastrophic`, the share of faces above
    `metrics.CATASTROPHIC`, in percent; of several conditions their mean.
  """
  for factor in factors(rule):
    rows = {factor.none: [own]}
    for value, members in factor.points.items():
      results = compare.by_condition(predict, measure, source, box=box, conditions=members)
      rows[value] = list(results.values())

    points = []
    for value in sorted(rows):
      means = {
        name: float(np.mean([row[f"{name}_{norm}"] for row in rows[value]]))
        for name in ("nme", "catastrophic")
      }
      points.append({"value": value, **means})
    described = {key: getattr(factor, key) for key in ("name", "unit", "none", "is_log")}
    yield {**described, "points": points}


def doubling(factor: Mapping[str, Any]) -> dict[str, float]:
  """Where a curve reaches twice the error that the network has without any change.

  Args:
    factor: from `curves`.

  Returns:
    "below" and "above" -> the value nearest to `none` on that side, linear between points (of
    logarithms where the factor `is_log`); a side on which the error stays smaller is left out.
  """
  values = np.array([point["value"] for point in factor["points"]], np.float64)
  errors = np.array([point["nme"] for point in factor["points"]])
  own = int(np.flatnonzero(values == factor["none"])[0])
  limit = 2 * errors[own]
  x = np.log(values) if factor["is_log"] else values

  found = {}
  for side, rows in (("below", range(own, -1, -1)), ("above", range(own, len(values)))):
    for here, there in itertools.pairwise(rows):
      if errors[there] >= limit:
        part = (limit - errors[here]) / (errors[there] - errors[here])
        at = x[here] + part * (x[there] - x[here])
        found[side] = float(np.exp(at) if factor["is_log"] else at)
        break
  return found
