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
  found = ElementTree.fromstring(svg).iter(tag)
  return [element for element in found if name is None or name in element.get("class", "").split()]


def places(circles):
  return np.array([[float(circle.get(key)) for key in ("cx", "cy")] for circle in circles])


def test_the_mean_shape_keeps_its_proportions_and_numbers_its_landmarks():
  svg = shape_plots.mean_shape(SHAPE, SHAPE + 0.1, MARKUPS[19])
  dots = [circle for circle in elements(svg, "circle") if circle.get("class") != "mirror"]
  at = places(dots)
  scale = np.ptp(at[:, 0]) / np.ptp(SHAPE[:, 0])
  np.testing.assert_allclose(at - at[0], scale * (SHAPE - SHAPE[0]), atol=0.15)
  np.testing.assert_allclose(places(elements(svg, "circle", "mirror")) - at, scale * 0.1, atol=0.15)
  assert sorted(int(text.text) for text in elements(svg, "text")) == list(range(19))
  colours = {circle.get("class"): MARKUPS[19].names[k] for k, circle in enumerate(dots)}
  assert colours["right"].startswith("right_") and colours["left"].startswith("left_")
  assert len(elements(svg, "line", "pair")) == (MARKUPS[19].flip != np.arange(19)).sum() / 2


def test_numbers_stand_beside_their_landmarks_and_apart_from_each_other():
  svg = shape_plots.mean_shape(SHAPE, None, MARKUPS[19])
  at = places(elements(svg, "circle"))
  numbers = np.array(
    [[float(text.get("x")), float(text.get("y")) - 4] for text in elements(svg, "text")]
  )
  np.testing.assert_allclose(np.linalg.norm(numbers - at, axis=-1), 15, atol=0.2)
  assert not elements(svg, "line", "pair") and not elements(svg, "circle", "mirror")


def test_an_unknown_landmark_is_left_out_and_a_shape_of_none_refused():
  shape = SHAPE.copy()
  shape[6] = np.nan
  svg = shape_plots.mean_shape(shape, None, MARKUPS[19])
  assert len(elements(svg, "circle")) == 18 and "nan" not in svg and ">6<" not in svg
  with pytest.raises(InputError, match="no landmark that is known"):
    shape_plots.mean_shape(np.full((19, 2), np.nan), None, MARKUPS[19])


def test_landmarks_on_a_picture_count_from_the_middle_of_its_first_pixel():
  points = np.full((19, 2), np.nan)
  points[[0, 3]] = (0, 0), (20.25, 30)
  visible = np.arange(19) != 3
  svg = shape_plots.face(
    b"picture", points, MARKUPS[19], visible=visible, box=np.array([1.0, 2, 11, 22]), size=64
  )
  circles = elements(svg, "circle")
  np.testing.assert_allclose(places(circles), [[0.5, 0.5], [20.75, 30.5]], atol=0.06)
  assert [circle.get("class") for circle in circles] == ["right", "left hidden"]
  (box,) = elements(svg, "rect", "box")
  assert [float(box.get(key)) for key in ("x", "y", "width", "height")] == [1.5, 2.5, 10, 20]
  assert base64.b64decode(elements(svg, "image")[0].get("href").split(",")[1]) == b"picture"


def test_bars_are_as_high_as_their_counts():
  svg = shape_plots.histogram([0, 10, 5, 20], [16, 32, 64, 128, 256], label="a < b")
  heights = [float(bar.get("height")) for bar in elements(svg, "rect", "bar")]
  np.testing.assert_allclose(np.array(heights) / heights[-1], [0.5, 0.25, 1], atol=0.01)
  texts = [text.text for text in elements(svg, "text")]
  assert texts.count("20") == 1 and [text for text in texts if text != "20"] == [
    "16",
    "32",
    "64",
    "128",
    "256",
  ]
  assert next(elements(svg, "title")[0].itertext()) == "a < b"


def test_the_cells_are_as_strong_as_their_counts_and_the_border_lies_around_the_heatmap():
  counts = np.zeros((24, 24), int)
  counts[5, 9], counts[6, 9] = 99, 9
  svg = shape_plots.heat(counts, margin=4, band=2)
  with Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]+)', svg)[1]))) as picture:
    alpha = np.asarray(picture)[..., 3]
  assert (
    alpha[5, 9] == 255 and alpha[6, 9] == pytest.approx(255 / 2, abs=1) and (alpha > 0).sum() == 2
  )
  sides = {
    rect.get("class"): (float(rect.get("x")), float(rect.get("width")))
    for rect in elements(svg, "rect")
  }
  assert sides == {"axis": (4, 16), "pair": (6, 12)}
