"""Colours and marks of one person, as `appearance.py` draws them and `texture.py` paints them."""

from dataclasses import dataclass

import numpy as np

# From very fair to very dark, sRGB; close to the Monk skin tone scale.
SKIN_TONES = np.array(
  [
    [246, 218, 203],
    [240, 205, 184],
    [232, 190, 162],
    [219, 170, 138],
    [200, 148, 114],
    [176, 124, 90],
    [148, 99, 68],
    [118, 75, 51],
    [90, 56, 40],
    [66, 42, 33],
  ],
  np.float32,
)


@dataclass(frozen=True)
class Look:
  """Colours and marks of one person; colours are sRGB 0..255.

  Attributes:
    skin: (3,) colour.
    redness: -1..1, blood in cheeks, nose and ears.
    freckles: 0..1.
    age: 0..1, depth of folds.
    lips: (3,) colour.
    iris: (3,) colour.
    hair: (3,) colour.
    brows: (3,) colour.
    brow_density: 0..1.
    beard: 0..1 how much of the skin the beard covers.
    moustache: 0..1.
    lashes: 0..1, 1 for make-up.
    clothes: (3,) colour.
    parting_at: column of the grid where the hair is parted, or -1.
    curl: 0 straight .. 1 curly hair.
    light: (2,) direction to the light in the image, for the reflection in the eyes.
    nostrils: height of the nostrils, chart units.
    hood: length of the fold beyond the outer corner of the eyes, chart units; 0 for none.
  """

  skin: np.ndarray
  redness: float
  freckles: float
  age: float
  lips: np.ndarray
  iris: np.ndarray
  hair: np.ndarray
  brows: np.ndarray
  brow_density: float
  beard: float
  moustache: float
  lashes: float
  clothes: np.ndarray
  parting_at: float
  curl: float
  light: tuple[float, float]
  nostrils: float = 0.513
  hood: float = 0.0
