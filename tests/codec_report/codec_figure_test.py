"""The figure of the codec report: one curve per distinct error, at its height."""

import drawings
import numpy as np
import pytest

from fal_jax.codec_report import figure
from fal_jax.errors import InputError

BLUE = (0, 0x72, 0xB2)
ORANGE = (0xD5, 0x5E, 0)
GREEN = (0, 0x9E, 0x73)


def draw(path, errors, **changes) -> np.ndarray:
  """Pixels of the figure, with temperatures and titles unless changed."""
  x = np.geomspace(1, 100, 50)
  arguments = {
    "norm": "box",
    "temperatures": x,
    "heatmap_px": 0.1 + np.log(x / 8) ** 2,
    "marks": {"here": (8.0, 0.1)},
    "titles": ("left", "right"),
    **changes,
  }
  figure.draw_codec_report(path, errors, **arguments)
  return drawings.read_rgb(path)


@pytest.mark.slow
def test_codecs_have_a_curve_each_at_its_error_and_share_it_where_they_agree(tmp_path):
  errors = {
    "a": np.full(30, 10.0),
    "b": np.full(30, 0.1),
    "a again": np.full(30, 10.05),
    "c": np.full(30, 1.0),
  }

  left = draw(tmp_path / "new" / "r.png", errors)[:, :800]

  curves = [drawings.where(left, colour, 10) for colour in (BLUE, ORANGE)]
  heights = [np.median(np.nonzero(curve)[0]) for curve in curves]
  # The first curve is black: rows with a long black line.
  black = np.flatnonzero((left.sum(-1) < 60).mean(1) > 0.4)
  # One decade each: 0.1, 1 and 10.
  assert (heights[0] - heights[1]) == pytest.approx(heights[1] - black[0], abs=8)
  assert not drawings.where(left, GREEN, 10).any()  # there is no fourth curve


@pytest.mark.slow
def test_one_face_and_flat_or_steep_curves_can_be_drawn(tmp_path):
  for number, values in enumerate(([3.0], [1e-7, 20.0])):
    errors = {"a": values, "b": [0.5]}
    pixels = draw(tmp_path / f"{number}.png", errors, heatmap_px=np.full(50, 0.3))
    assert pixels.shape == (750, 1875, 3)

  with pytest.raises(InputError, match="no error of any face to draw for 'a'"):
    draw(tmp_path / "none.png", {"a": []})


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
  drawings.hide_matplotlib(monkeypatch)
  with pytest.raises(InputError, match=r"pip install 'fal_jax\[demo\]'"):
    draw(tmp_path / "c.png", {"a": [1.0]})
