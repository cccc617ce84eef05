"""Rates and fractions of tasks, from seconds that are known."""

import pytest

from fal_jax.bench import rates
from fal_jax.bench.rates import Count

SAMPLES = {
  "matmul": [1.0, 4.0, 2.0],
  "step": [10.0, 40.0, 20.0],
  "encode": [2.0, 8.0, 4.0],
  "eager encode": [1.0, 4.0, 2.0],
}
COUNTS = {
  "matmul": Count(1, "products", 100.0),
  "step": Count(2, "pairs", 500.0, devices=2),
  "encode": Count(40, "heatmaps", 20.0, 80.0, in_step=0.25),
}


def test_a_step_is_compared_with_the_matmul_of_the_same_round():
  of_matmul = rates.describe(SAMPLES, "step", COUNTS, matmul="matmul")["of_matmul"]
  assert of_matmul["median"] == of_matmul["q1"] == pytest.approx(500 / 10 / (2 * 100))


def test_a_part_is_compared_with_the_step_of_the_same_round():
  part = rates.describe(SAMPLES, "encode", COUNTS, matmul="matmul")

  share = part["share_of_step"]
  assert share["max"] == share["min"] == pytest.approx(0.25 * 0.2)
  assert part["bytes_per_second"] == 20 and part["per_second"] == 10


def test_pytorch_is_compared_item_by_item():
  samples = {**SAMPLES, "eager encode, one by one": [1.0, 4.0, 2.0]}
  counts = {**COUNTS, "eager encode, one by one": Count(4, "heatmaps", 0)}

  parts = rates.compare("", samples, counts, "eager ")["parts"]

  assert parts["encode"]["ratio"]["median"] == 0.5
  assert parts["encode, one by one"]["ratio"]["median"] == 5, (
    "a tenth of the heatmaps in half of the time"
  )
