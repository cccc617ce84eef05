"""Error curves and learning curves: drawn where the numbers are, gaps skipped, mistakes named."""

import drawings
import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.plots import curves

FIRST_COLOUR = (0, 0x72, 0xB2)
SECOND_COLOUR = (0xD5, 0x5E, 0)


def test_the_error_curve_rises_where_the_errors_are(tmp_path):
  path = tmp_path / "new" / "ced.png"

  curves.draw_ced(path, {"a": np.full(50, 4.0)}, norm="ic", max_error=8)

  pixels = drawings.read_rgb(path)
  assert pixels.shape == (690, 960, 3)
  curve = drawings.where(pixels, FIRST_COLOUR, 10)
  xs = np.flatnonzero(curve.any(0))
  rise = curve.sum(0).argmax()
  assert curve[:, rise].mean() > 0.7  # one step from 0 to 100 %
  assert rise == pytest.approx((xs[0] + xs[-1]) / 2, abs=4)  # at 4 % of 8 %


def test_several_curves_and_any_normaliser_can_be_drawn(tmp_path):
  path = tmp_path / "ced.svg"
  errors = {f"model {i}": np.random.default_rng(i).gamma(2, 1 + i, 30) for i in range(9)}

  for norm in ("ip", "box", "diag", "the head's height"):
    curves.draw_ced(path, errors, norm=norm, max_error=7)
    assert path.read_text().lstrip().startswith("<?xml")


def test_the_legend_of_many_curves_is_beside_them(tmp_path):
  """The last curve rises where the legend of a few curves is."""
  path = tmp_path / "ced.png"
  errors = {f"model {i}": np.full(9, 1.0 + i) for i in range(6)}

  curves.draw_ced(path, errors, norm="ic", max_error=7)

  pixels = drawings.read_rgb(path)
  assert pixels.shape == (690, 1440, 3)
  last = drawings.where(pixels[:, :1000], (0xE6, 0x9F, 0), 10).sum(0).max()
  assert last > 0.5 * 690  # dashed, from 0 to 100 %


def test_an_error_that_is_nan_is_refused(tmp_path):
  with pytest.raises(InputError, match="NaN"):
    curves.draw_ced(tmp_path / "ced.png", {"a": [1.0, np.nan]}, norm="ic", max_error=8)


@pytest.mark.slow
def test_a_learning_curve_has_one_panel_per_name_and_skips_gaps(tmp_path):
  path = tmp_path / "l.png"
  steps = np.arange(1, 101)
  values = {
    "loss": 1 / steps,
    "nme": [None, *np.linspace(9, 4, 98), np.nan],
    "never": np.full(100, np.nan),
  }

  heights = []
  for names in (["loss"], ["loss", "nme"], ["loss", "nme", "never"]):
    curves.draw_learning_curve(path, steps, {name: values[name] for name in names})
    pixels = drawings.read_rgb(path)
    heights.append(pixels.shape[0])

  assert np.diff(heights).tolist() == [315, 315]
  assert drawings.where(pixels, FIRST_COLOUR, 10).any()
  assert drawings.where(pixels, SECOND_COLOUR, 10).any()


def test_a_learning_curve_needs_one_value_per_step(tmp_path):
  path = tmp_path / "l.png"
  with pytest.raises(InputError, match=r"loss has shape \(2,\) but steps \(3,\)"):
    curves.draw_learning_curve(path, [1, 2, 3], {"loss": [1, 2]})
  with pytest.raises(InputError, match="no values"):
    curves.draw_learning_curve(path, [1, 2, 3], {})


def test_without_matplotlib_curves_say_what_to_install(tmp_path, monkeypatch):
  path = tmp_path / "c.png"
  drawings.hide_matplotlib(monkeypatch)

  with pytest.raises(InputError, match=r"pip install 'fal_jax\[demo\]'"):
    curves.draw_ced(path, {"a": [1.0]}, norm="ic", max_error=8)
  with pytest.raises(InputError, match=r"pip install 'fal_jax\[demo\]'"):
    curves.draw_learning_curve(path, [1], {"loss": [1]})
