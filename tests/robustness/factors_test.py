"""Curves of conditions: what is asked of the network, what is averaged, where errors double."""

import numpy as np
import pytest

from fal_jax.crop import CropRule
from fal_jax.robustness import factors
from fal_jax.robustness.conditions import CONDITIONS

RULE = CropRule(size=128, stored_size=208, face=110.0)


def members(rule: CropRule) -> list:
  return [
    condition
    for factor in factors.factors(rule)
    for conditions in factor.points.values()
    for condition in conditions
  ]


def test_no_two_conditions_share_a_name_and_the_single_ones_lie_on_the_curves():
  names = [condition.name for condition in members(RULE)]
  assert len(set(names)) == len(names)
  amounts = ("box", "turned", "gamma")
  assert {c.name for c in CONDITIONS if c.name.startswith(amounts)} <= set(names)


def test_what_happens_to_pixels_is_of_the_face_s_size_and_finer_than_the_crop_is_nothing():
  small = CropRule(size=64, stored_size=104, face=55.0)
  points = {f.name: f.points for f in factors.factors(small)}
  assert max(points["resolution"]) == 48

  image = np.zeros((64, 64, 3), np.uint8)
  image[20:44, 20:44] = 255
  large = image.repeat(2, 0).repeat(2, 1)
  for name, value in (("blur", 4), ("resolution", 24), ("occlusion", 30)):
    (of_small,) = points[name][value]
    (of_large,) = {f.name: f.points for f in factors.factors(RULE)}[name][value]
    changed = of_small.change(image, np.zeros((0, 2)), "a.jpg").astype(float)
    twice = of_large.change(large, np.zeros((0, 2)), "a.jpg").astype(float)
    halved = twice.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(halved - changed).mean() < 4, name


def test_a_curve_has_the_mean_of_its_conditions_and_the_unchanged_network_in_its_place():
  asked = []

  def predict(source, *, box, condition):
    asked.append(condition)
    assert (source, box) == ("the split", "detector")
    return condition

  def measure(condition):
    right = condition.shift[0] > 0
    return {"nme_ic": 7.0 if right else 3.0, "catastrophic_ic": 40.0 if right else 0.0}

  own = {"nme_ic": 2.0, "catastrophic_ic": 0.0}
  options = {"box": "detector", "norm": "ic", "rule": RULE}
  curves = {c["name"]: c for c in factors.curves(predict, measure, "the split", own, **options)}

  assert [condition.name for condition in asked] == [c.name for c in members(RULE)]
  shift = curves["shift of the box"]["points"]
  assert [point["value"] for point in shift] == [0, *factors.SHIFTS]
  assert shift[0] == {"value": 0, "nme": 2.0, "catastrophic": 0.0}
  assert {(p["nme"], p["catastrophic"]) for p in shift[1:]} == {(4.0, 10.0)}  # one of four is right
  values = [point["value"] for point in curves["rotation"]["points"]]
  assert values == sorted({*factors.ROTATIONS, 0})
  assert curves["resolution"]["points"][-1]["nme"] == 2.0  # 110 px, the crop itself


@pytest.mark.parametrize(
  ("is_log", "values", "expected"),
  [
    (False, [-20, -10, 0, 10, 20], {"below": -15.0, "above": 10.0}),
    (True, [0.25, 0.5, 1, 2, 4], {"below": 0.25 * np.sqrt(2), "above": 2.0}),
  ],
)
def test_an_error_doubles_between_the_points_around_it(is_log, values, expected):
  errors = [5.0, 3.0, 2.0, 4.0, 9.0]
  points = [{"value": v, "nme": e} for v, e in zip(values, errors, strict=True)]

  factor = {"points": points, "none": values[2], "is_log": is_log}
  assert factors.doubling(factor) == pytest.approx(expected)

  alone = {"points": [*points[2:3], {"value": 50, "nme": 3.9}], "none": values[2], "is_log": False}
  assert factors.doubling(alone) == {}
