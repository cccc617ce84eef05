"""One landmark through a network: the same spot in every stack, in both views and in their sum."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_dataset

from fal_jax import affine, build, crop
from fal_jax.errors import InputError
from fal_jax.landmarks import MARKUPS
from fal_jax.plots import figure, landmark_heatmaps

SPOT = np.array([43.0, 38.0])  # image px
BOX = np.array([20.0, 15.0, 70.0, 65.0])
MARKUP = MARKUPS[tiny_dataset.MARKUP]
EYE = 8  # which has another name in a mirror


class Fake:
  """Two stacks, the first half as high; channel k is a Gaussian at the spot, higher with k."""

  stride, size_multiple = 4, 4

  def __init__(self, codec):
    self._codec = codec

  def apply(self, variables, images, train):
    x, y = jnp.meshgrid(jnp.arange(images.shape[2]), jnp.arange(images.shape[1]))
    weight = images.mean(-1) ** 2
    total = weight.sum((1, 2))
    at = jnp.stack([(weight * axis[None]).sum((1, 2)) / total for axis in (x, y)], -1)
    points = jnp.repeat(at[:, None], MARKUP.num, 1)
    heights = 0.5 + jnp.arange(MARKUP.num) / (2 * MARKUP.num)
    last = self._codec.encode(points) * heights[None, None, None]
    return jnp.stack([last / 2, last])


@pytest.fixture(scope="module")
def setup():
  config = tiny_dataset.config(Path("nowhere"), augment__colour=(1.0, 1.0))
  setup = build.setup(config)
  return dataclasses.replace(setup, network=Fake(setup.codec))


@pytest.fixture(scope="module")
def looks(setup):
  rows, columns = np.mgrid[:80, :90]
  spot = np.exp(-((columns - SPOT[0]) ** 2 + (rows - SPOT[1]) ** 2) / 12)
  image = np.repeat(np.round(250 * spot)[..., None], 3, -1).astype(np.uint8)
  return landmark_heatmaps.make_look(setup, {})(image, BOX)


@pytest.mark.slow
def test_every_panel_reads_the_spot_in_the_frame_of_the_upright_crop(setup, looks):
  expected = affine.apply(crop.crop_from_image(BOX, setup.crop), SPOT)
  height = 0.5 + EYE / (2 * MARKUP.num)

  panels = landmark_heatmaps.panels(looks, setup, EYE)

  assert [panel.name.split(",")[0] for panel in panels] == [
    *("stack 1", "stack 2", "view 1", "view 2", "sum of the views")
  ]
  for panel in panels:
    for name, point in panel.readings.items():
      tolerance = 2.9 if name == "argmax" else 0.6  # half a cell across the diagonal; a resampling
      assert np.linalg.norm(point - expected) < tolerance, (panel.name, name)
  peaks = [panel.in_crop.max() / height for panel in panels]
  np.testing.assert_allclose(peaks, [0.5, 1, 1, 1, 2], rtol=0.15)
  for panel in panels[2:4]:  # under the name that the landmark has in this view
    assert panel.heatmap.max() == pytest.approx(panel.in_crop.max(), rel=0.15)


@pytest.mark.slow
def test_the_picture_names_its_landmark_and_its_marks(setup, looks, tmp_path):
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)
  path = tmp_path / "new" / "eye.png"

  landmark_heatmaps.draw(path, looks, setup, EYE, truth=SPOT, caption="A face.", command="run me")

  svg = path.with_suffix(".svg").read_text()
  words = ("8: right eye outer", "stack 2", "sum of the views", "annotated", "run me")
  for word in (*words, "A face.", "calibrated (ours)"):
    assert word in svg, word
  assert path.stat().st_size > 20_000


def test_landmarks_are_named_by_number_or_name_and_others_are_refused():
  assert landmark_heatmaps.numbers(["8", " nose_tip", "8"], MARKUP) == [8, 20]
  with pytest.raises(InputError, match=r"no landmark 29, ear; give numbers from 0 to 28 or names"):
    landmark_heatmaps.numbers(["29", "ear", "1"], MARKUP)
