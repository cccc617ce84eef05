"""The figure of landmark errors shows the landmark that is off."""

import numpy as np
import pytest
from PIL import Image

from fal_jax import landmarks
from fal_jax.plots import landmark_errors


@pytest.mark.parametrize("num", [68, 98, 29, 19])
def test_the_only_dark_circle_is_around_the_landmark_that_is_off(tmp_path, num):
  true = np.random.default_rng(0).uniform(0, 100, (1, num, 2))
  worst = int(true[0, :, 1].argmax())  # the lowest one
  errors = np.full(num, 0.1)
  errors[worst] = 8.0
  errors[(worst + 1) % num] = np.nan

  landmark_errors.draw_landmark_errors(
    tmp_path / "l.png", true, [100.0], errors, markup=landmarks.MARKUPS[num], norm="box"
  )

  # Without the colour bar on the right.
  with Image.open(tmp_path / "l.png") as figure:
    pixels = np.asarray(figure.convert("RGB")).astype(int)[:, : int(0.8 * figure.width)]
  dark = (pixels[..., 2] - pixels[..., 1] > 40) & (pixels.sum(-1) < 400)
  rows = np.flatnonzero(dark.any(1))
  ink = np.flatnonzero((pixels < 250).any((1, 2)))
  assert rows.size
  assert rows.min() > ink.max() - 0.25 * len(pixels)
