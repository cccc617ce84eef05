"""Draws at random what a person looks like: skin, hair, make-up."""

import numpy as np

from tfds_builders.synthetic_faces.hair import HairStyle
from tfds_builders.synthetic_faces.look import SKIN_TONES, Look
from tfds_builders.synthetic_faces.shading import Light
from tfds_builders.synthetic_faces.tube import COLUMNS

# Dark to fair, then red, grey and white.
_HAIR_COLOURS = np.array(
  [
    [26, 22, 20],
    [38, 28, 23],
    [58, 40, 30],
    [88, 60, 40],
    [122, 86, 56],
    [168, 130, 84],
    [205, 172, 120],
    [140, 68, 38],
    [165, 165, 162],
    [222, 220, 214],
  ],
  np.float32,
)
_EYE_COLOURS = np.array(
  [[62, 38, 24], [84, 54, 32], [112, 82, 48], [96, 104, 72], [86, 116, 130], [98, 128, 160]],
  np.float32,
)
_LIPSTICKS = np.array([[176, 38, 52], [150, 30, 60], [205, 92, 96], [120, 30, 42]], np.float32)


def sample_look(
  key: np.random.Generator, *, female: bool, age: float, light: Light
) -> tuple[Look, HairStyle]:
  """Colours, marks and a hair style.

  Args:
    key: generator.
    female: shifts how likely hair styles, beards and make-up are.
    age: 0..1, deepens folds, greys and thins the hair.
    light: only places the reflection in the eyes.

  Returns:
    The look and the hair style.
  """
  tone = key.beta(1.0, 1.3) * (len(SKIN_TONES) - 1)
  i = int(tone)
  skin = SKIN_TONES[i] + (tone - i) * (SKIN_TONES[min(i + 1, 9)] - SKIN_TONES[i])
  skin = np.clip(skin * (1 + key.normal(0, 0.025, 3)), 20, 252).astype(np.float32)
  dark = tone / (len(SKIN_TONES) - 1)

  hair_colour = _hair_colour(key, age=age, dark=dark)
  brows = hair_colour * 0.72 if hair_colour.mean() < 180 else hair_colour * 0.6
  brows = np.clip(brows, 12, 150).astype(np.float32)
  brows = np.minimum(0.85 * brows + 0.15 * skin, skin * 0.62)

  natural = skin * (0.90, 0.66, 0.64) if dark < 0.6 else skin * (0.98, 0.76, 0.78)
  painted = _LIPSTICKS[key.integers(0, 4)]
  makeup = key.uniform(0.3, 0.8) if female and key.random() < 0.4 else 0.0
  lips = (natural * key.uniform(0.93, 1.06) * (1 - makeup) + painted * makeup).astype(np.float32)

  curl = float(key.beta(1, 2.5) if dark < 0.55 else key.beta(2.5, 1))
  beard = 0.0 if female or key.random() < 0.55 else float(key.choice([0.25, 0.45, 0.85]))
  moustache = beard
  if not beard:
    moustache = 0.0 if female or key.random() < 0.9 else 0.8
  style = _hair_style(key, female=female, age=age, curl=curl)

  # Drawn in this order: another one would make other faces.
  look = Look(
    skin=skin,
    redness=float(key.normal(0, 0.5)),
    age=age,
    lips=lips,
    freckles=float(key.uniform(0.3, 1)) if key.random() < 0.10 and dark < 0.5 else 0.0,
    iris=_iris(key, dark=dark),
    hair=hair_colour,
    brows=brows,
    brow_density=float(np.clip(key.normal(0.75, 0.15), 0.4, 0.95)),
    beard=beard,
    moustache=moustache,
    lashes=float(key.uniform(0.4, 1.0) if female else key.uniform(0, 0.4)),
    clothes=np.clip(key.uniform(20, 235) + key.normal(0, 30, 3), 8, 245).astype(np.float32),
    parting_at=_parting(key, curl=curl),
    curl=curl,
    light=(float(light.direction[0]), float(light.direction[1])),
  )
  return look, style


def _hair_colour(key: np.random.Generator, *, age: float, dark: float) -> np.ndarray:
  """(3,) float32 sRGB; `dark` is 0 for the fairest skin .. 1 for the darkest."""
  if age > 0.62 and key.random() < 0.75:
    colour = _HAIR_COLOURS[key.integers(8, 10)]
  else:
    colour = _HAIR_COLOURS[int(np.clip(key.beta(1.0, 0.9 + 3.5 * dark) * 8, 0, 7))]
  return np.clip(colour * key.uniform(0.85, 1.2), 12, 235).astype(np.float32)


def _iris(key: np.random.Generator, *, dark: float) -> np.ndarray:
  """(3,) sRGB; `dark` as in `_hair_colour`."""
  colour = _EYE_COLOURS[int(np.clip(key.beta(1.0, 0.8 + 5 * dark) * 6, 0, 5))]
  return colour * key.uniform(0.85, 1.15)


def _parting(key: np.random.Generator, *, curl: float) -> float:
  """The column at which the hair is parted, or -1."""
  is_parted = key.random() < 0.5 and curl < 0.5
  return float(key.uniform(0.36, 0.64) * COLUMNS) if is_parted else -1.0


def _hair_style(key: np.random.Generator, *, female: bool, age: float, curl: float) -> HairStyle:
  draw = key.random()
  hairline = float(np.clip(key.normal(-0.05, 0.2), -0.5, 0.25))
  if female:
    return _long_style(key, draw, hairline=hairline, curl=curl)

  if draw < 0.06 + 0.12 * age:
    return HairStyle(bald=True)
  if draw < 0.10 + 0.35 * age:  # receding
    return HairStyle(
      volume=key.uniform(0.02, 0.06), hairline=-key.uniform(0.8, 2.0), curl=curl, ragged=0.08
    )

  if draw < 0.5:  # cropped
    return HairStyle(volume=key.uniform(0.015, 0.05), hairline=hairline, curl=curl, ragged=0.06)

  if draw < 0.92:
    return HairStyle(
      volume=key.uniform(0.06, 0.12),
      hairline=hairline,
      quiff=key.uniform(0, 0.14),
      curl=curl,
      ragged=key.uniform(0.03, 0.10),
    )
  return HairStyle(
    volume=key.uniform(0.07, 0.12),
    hairline=hairline,
    length=key.uniform(0.8, 1.7),
    curtain=key.uniform(80, 105),
    curl=curl,
    ragged=0.08,
  )


def _long_style(
  key: np.random.Generator, draw: float, *, hairline: float, curl: float
) -> HairStyle:
  """Mostly long hair; `draw` in 0..1 chooses the style."""
  if draw < 0.12:  # short
    return HairStyle(
      volume=key.uniform(0.08, 0.16), hairline=hairline, curl=curl, ragged=key.uniform(0.03, 0.10)
    )

  fringe = key.uniform(0.5, 1.1) if draw > 0.75 else hairline
  if curl > 0.75 and draw < 0.4:  # a ball of curls
    return HairStyle(volume=key.uniform(0.22, 0.40), hairline=hairline, curl=curl, ragged=0.06)
  return HairStyle(
    volume=key.uniform(0.08, 0.16),
    hairline=fringe,
    length=key.uniform(0.9, 2.3),
    curtain=key.uniform(68, 100),
    curl=curl,
    ragged=key.uniform(0.04, 0.10),
  )
