"""Vector drawings: everything stands where the numbers say."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from fal_jax.doctor import shape_plots
from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS

SHAPE = np.random.default_rng(0).uniform(-1, 1, (19, 2))


def elements(svg, tag, name=None):
  """All elements of a tag, or those of one class."""
  return [
    element
    for element in ElementTree.fromstring(svg).iter(tag)
    if name is None or name in element.get("class", "").split()
  ]


def attributes(element, *names):
  return tuple(float(element.get(name)) for name in names)


def centres(circles):
  return np.array([attributes(circle, "cx", "cy") for circle in circles])


def test_the_mean_shape_keeps_its_proportions_and_numbers_its_landmarks():
  svg = shape_plots.draw_mean_shape(SHAPE, SHAPE + 0.1, MARKUPS[19])

  dots = [circle for circle in elements(svg, "circle") if circle.get("class") != "mirror"]
  at = centres(dots)
  scale = np.ptp(at[:, 0]) / np.ptp(SHAPE[:, 0])
  np.testing.assert_allclose(at - at[0], scale * (SHAPE - SHAPE[0]), atol=0.15)
  mirrored = centres(elements(svg, "circle", "mirror"))
  np.testing.assert_allclose(mirrored - at, scale * 0.1, atol=0.15)
  assert sorted(int(text.text) for text in elements(svg, "text")) == list(range(19))

  colours = {circle.get("class"): MARKUPS[19].names[k] for k, circle in enumerate(dots)}
  assert colours["right"].startswith("right_")
  assert colours["left"].startswith("left_")
  assert len(elements(svg, "line", "pair")) == (MARKUPS[19].flip != np.arange(19)).sum() / 2


def test_numbers_stand_beside_their_landmarks():
  svg = shape_plots.draw_mean_shape(SHAPE, None, MARKUPS[19])

  numbers = np.array([attributes(text, "x", "y") for text in elements(svg, "text")]) - [0, 4]
  offsets = numbers - centres(elements(svg, "circle"))
  np.testing.assert_allclose(np.linalg.norm(offsets, axis=-1), 15, atol=0.2)
  assert not elements(svg, "line", "pair")
  assert not elements(svg, "circle", "mirror")


def test_an_unknown_landmark_is_left_out_and_a_shape_without_any_is_refused():
  shape = SHAPE.copy()
  shape[6] = np.nan

  svg = shape_plots.draw_mean_shape(shape, None, MARKUPS[19])

  assert len(elements(svg, "circle")) == 18
  assert "nan" not in svg
  assert ">6<" not in svg
  with pytest.raises(InputError, match="no landmark that is known"):
    shape_plots.draw_mean_shape(np.full((19, 2), np.nan), None, MARKUPS[19])


def test_landmarks_on_an_image_count_from_the_middle_of_its_first_pixel():
  points = np.full((19, 2), np.nan)
  points[[0, 3]] = (0, 0), (20.25, 30)
  visible = np.arange(19) != 3
  box = np.array([1.0, 2, 11, 22])

  svg = shape_plots.draw_face(b"image", points, MARKUPS[19], visible=visible, box=box, size=64)

  circles = elements(svg, "circle")
  np.testing.assert_allclose(centres(circles), [[0.5, 0.5], [20.75, 30.5]], atol=0.06)
  assert [circle.get("class") for circle in circles] == ["right", "left hidden"]
  (rect,) = elements(svg, "rect", "box")
  assert attributes(rect, "x", "y", "width", "height") == (1.5, 2.5, 10, 20)
  assert base64.b64decode(elements(svg, "image")[0].get("href").split(",")[1]) == b"image"


def test_bars_are_as_high_as_their_counts():
  svg = shape_plots.draw_histogram([0, 10, 5, 20], [16, 32, 64, 128, 256], label="a < b")

  heights = np.array([float(bar.get("height")) for bar in elements(svg, "rect", "bar")])
  np.testing.assert_allclose(heights / heights[-1], [0.5, 0.25, 1], atol=0.01)
  texts = [text.text for text in elements(svg, "text")]
  assert texts.count("20") == 1
  assert [text for text in texts if text != "20"] == ["16", "32", "64", "128", "256"]
  assert next(elements(svg, "title")[0].itertext()) == "a < b"


def test_cells_are_as_strong_as_their_counts_and_the_border_is_around_the_heatmap():
  counts = np.zeros((24, 24), int)
  counts[5, 9] = 99
  counts[6, 9] = 9

  svg = shape_plots.draw_heat(counts, margin=4, band=2)

  png = base64.b64decode(re.search(r'base64,([^"]+)', svg)[1])
  with Image.open(io.BytesIO(png)) as image:
    alpha = np.asarray(image)[..., 3]
  assert alpha[5, 9] == 255
  assert alpha[6, 9] == pytest.approx(255 / 2, abs=1)
  assert (alpha > 0).sum() == 2
  sides = {rect.get("class"): attributes(rect, "x", "width") for rect in elements(svg, "rect")}
  assert sides == {"axis": (4, 16), "pair": (6, 12)}
