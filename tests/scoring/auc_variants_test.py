"""Areas as other projects compute them: each against its closed form, and what it gets wrong."""

import numpy as np
import pytest
from scipy import integrate

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.scoring import auc_variants

H = 0.01  # percentage points, the step of the sampled variants


def _errors(n: int = 600, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).gamma(9, 0.35, n)


def _auc(errors, threshold, variant):
  return auc_variants.auc(errors, threshold, variant=variant)


def test_exact_is_the_exact_one():
  assert _auc(_errors(), 8, "exact") == metrics.auc(_errors(), 8)


@pytest.mark.parametrize(
  ("threshold", "overshoot"), [(5, True), (7, True), (8, False), (10, False)]
)
def test_the_sampled_grid_overshoots_at_some_thresholds(threshold, overshoot):
  """Errors of zero: the area is 1, and the last strip is h / t more for every face."""
  expected = 1 + overshoot * H / threshold
  for variant in ("simpson", "trapezoid"):
    assert _auc(np.zeros(5), threshold, variant) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [8, 10])
def test_simpson_is_off_by_the_weights_left_of_a_face(threshold):
  """In the cell that ends at grid point i, the area is t - h (i - 1/3) if i is even.

  If i is odd, it is t - h (i - 2/3).
  """
  for error in (0.015, 0.025, 3.3333, 7.991, 4.0051):
    i = int(np.ceil(error / H))
    expected = 1 - H * (i - (1 / 3 if i % 2 == 0 else 2 / 3)) / threshold

    area = _auc([error], threshold, "simpson")

    assert area == pytest.approx(expected, abs=1e-9)
    assert abs(area - metrics.auc([error], threshold)) <= 2 / 3 * H / threshold + 1e-12


@pytest.mark.parametrize("threshold", [5, 7, 8, 10])
def test_trapezoid_is_off_by_half_a_cell_at_most_besides_the_last_strip(threshold):
  error = np.array([3.3333])
  i = int(np.ceil(error[0] / H))
  strip = H * (threshold in (5, 7))
  expected = (threshold + strip - H * (i - 0.5)) / threshold

  assert _auc(error, threshold, "trapezoid") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [5, 7, 8, 10])
def test_the_sampled_variants_are_what_scipy_makes_of_the_sampled_curve(threshold):
  errors = _errors()
  x = np.arange(0, threshold / 100 + 1e-4, 1e-4)
  y = np.array([np.count_nonzero(errors / 100 <= at) for at in x]) / len(errors)
  trapezoid = integrate.trapezoid(y, x) / threshold * 100
  if len(x) % 2:
    simpson = integrate.simpson(y, x=x)
  else:  # what SciPy called even="avg", until it was removed
    last_strip, first_strip = 1e-4 * (y[-2] + y[-1]) / 2, 1e-4 * (y[0] + y[1]) / 2
    without_last = integrate.simpson(y[:-1], x=x[:-1]) + last_strip
    without_first = integrate.simpson(y[1:], x=x[1:]) + first_strip
    simpson = (without_last + without_first) / 2

  assert _auc(errors, threshold, "trapezoid") == pytest.approx(trapezoid, abs=1e-12)
  assert _auc(errors, threshold, "simpson") == pytest.approx(simpson / threshold * 100, abs=1e-12)


def test_at_seven_percent_the_overshoot_is_a_seventh_of_a_point():
  errors = _errors(20_000)
  share = (errors <= 7).mean()

  at_7 = 100 * (_auc(errors, 7, "simpson") - metrics.auc(errors, 7))
  at_8 = 100 * (_auc(errors, 8, "simpson") - metrics.auc(errors, 8))

  assert at_7 == pytest.approx(100 * H / 7 * share, abs=0.003)  # 0.14 where most faces are below
  assert at_8 == pytest.approx(0, abs=0.003)


def test_fan_counts_the_grid_points_right_of_a_face():
  """An error e has 10 t - 1 - floor(9.99 e) of 10 t points to its right."""
  for error in (0.05, 2.3, 3.456):
    assert _auc([error], 7, "fan") == pytest.approx((69 - np.floor(9.99 * error)) / 70, abs=1e-12)
  # A perfect face is not counted at zero, where the curve starts.
  assert _auc([0.0], 7, "fan") == 69 / 70

  errors = np.random.default_rng(0).uniform(0, 6, 100_000)
  excess = 100 * (_auc(errors, 7, "fan") - metrics.auc(errors, 7))
  assert excess == pytest.approx(100 * (0.01 * 3 - 0.5) / 70, abs=0.003)  # -0.67


@pytest.mark.parametrize("seed", range(5))
def test_luvli_joins_the_steps_by_straight_lines(seed):
  errors = np.sort(_errors(11, seed))
  t = (errors[7] + errors[8]) / 2
  inside, rest = errors[:8], t - errors[7]
  more = (inside[-1] - inside[0]) / 2 + rest**2 / (2 * (errors[8] - errors[7]))

  between_two = metrics.auc(errors, t) + more / (11 * t)
  assert _auc(errors, t, "luvli") == pytest.approx(between_two, abs=1e-12)

  all_inside = metrics.auc(errors, 50) + (errors[-1] - errors[0]) / (2 * 11 * 50)
  assert _auc(errors, 50, "luvli") == pytest.approx(all_inside, abs=1e-12)

  at_an_error = metrics.auc(errors, errors[7]) + (inside[-1] - inside[0]) / (2 * 11 * errors[7])
  assert _auc(errors, errors[7], "luvli") == pytest.approx(at_an_error, abs=1e-12)


def test_spiga_changes_with_the_worst_face():
  """A face that fails by 10,000 % makes each bin, a ten-thousandth of the range, 1 % wide."""
  errors = np.array([0.0, 1.5, 1.5, 1.5, 10_000.0])
  # At 0, 1, ..., 7 %, each reached one percent too early.
  shares = np.array([1, 4, 4, 4, 4, 4, 4, 4]) / 5
  ends = shares[-2:].mean() + shares[:2].mean()
  expected = (integrate.simpson(shares[:-1], dx=1) + integrate.simpson(shares[1:], dx=1) + ends) / 2

  assert _auc(errors, 8, "spiga") == pytest.approx(expected / 8, abs=1e-12)

  calm, upset = _errors(), np.append(_errors(), 5e4)
  assert _auc(calm, 8, "spiga") == pytest.approx(metrics.auc(calm, 8), abs=1e-3)
  assert _auc(upset, 8, "spiga") - metrics.auc(upset, 8) > 0.005


def test_spiga_is_exact_where_all_faces_have_one_error():
  for errors in ([4.0], [4.0] * 5, [4.0, np.nextafter(4.0, 5)]):
    assert _auc(errors, 8, "spiga") == pytest.approx(0.5, abs=1e-12)


def test_mdm_is_a_share_of_faces_and_not_an_area():
  assert _auc([1.0, 7.9, 8.0, 9.0], 8, "mdm") == 0.5


def test_all_variants_but_mdm_are_close_to_each_other():
  areas = auc_variants.auc_of_all(_errors(), 10)

  assert areas.keys() == auc_variants.VARIANTS.keys()
  for variant, area in areas.items():
    assert area == _auc(_errors(), 10, variant)
    assert variant == "mdm" or area == pytest.approx(areas["exact"], abs=0.01)


def test_where_all_faces_fail_every_area_is_nothing():
  areas = auc_variants.auc_of_all([50.0, 60.0, 70.0], 8)

  assert {round(area, 12) for area in areas.values()} == {0}


def test_an_unknown_variant_and_errors_without_a_distribution_are_refused():
  choices = "exact, simpson, trapezoid, fan, luvli, spiga, mdm"
  with pytest.raises(InputError, match=f"'pipnet': choose one of {choices}"):
    _auc([1.0], 8, "pipnet")
  with pytest.raises(InputError, match="NaN"):
    _auc([np.nan], 8, "fan")
  with pytest.raises(InputError, match="infinite"):
    _auc([np.inf, 1.0], 8, "spiga")
