"""Draws at random who is in the image and what the face does."""

from dataclasses import dataclass, replace

import numpy as np

from tfds_builders.synthetic_faces.appearance import sample_look
from tfds_builders.synthetic_faces.hair import HairStyle
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves
from tfds_builders.synthetic_faces.look import Look
from tfds_builders.synthetic_faces.shading import Light

# fmt: off
_IDENTITY = (
  "width", "height", "skull", "depth", "jaw", "chin", "chin_width", "chin_depth", "cheekbones",
  "cheeks", "forehead", "nose_length", "nose_width", "nose_height", "nose_bridge", "nose_side",
  "eye_distance", "eye_size", "eye_tilt", "eye_height", "eye_depth", "brow_height", "brow_ridge",
  "mouth_width", "mouth_height", "mouth_side", "lips", "lips_depth", "lopsided",
)
_OUTLINE = ("width", "jaw", "chin", "chin_width", "cheekbones", "cheeks")
# fmt: on


@dataclass(frozen=True)
class Person:
  """Everything about the head itself.

  Attributes:
    shape: coefficients of the head's bases, identity and expression together.
    curves: the feature curves on the face.
    look: colours and marks.
    hair: the hair style.
    ear_size: 1 is average.
    ear_flare: radians between ear and skull.
    glasses: "" | "clear" | "dark".
    gloss: reflection of the skin.
  """

  shape: dict[str, float]
  curves: FaceCurves
  look: Look
  hair: HairStyle
  ear_size: float
  ear_flare: float
  glasses: str
  gloss: float


def sample_person(key: np.random.Generator, light: Light, *, varied: bool = False) -> Person:
  """A person with an expression.

  Args:
    key: generator.
    light: only places the reflection in the eyes.
    varied: see `_varied`.

  Returns:
    The person.
  """
  shape = {name: float(np.clip(key.normal(), -2.2, 2.2)) for name in _IDENTITY}
  for name in ("nose_side", "mouth_side", "lopsided"):
    shape[name] *= 0.6
  parting = _expression(key, shape)

  blink = key.random() < 0.05
  upper = 0.06 * key.random() if blink else float(np.clip(key.normal(1.0, 0.12), 0.6, 1.28))

  squint = max(0.0, 0.12 * (shape["smile_left"] + shape["smile_right"]) / 2)
  lids = np.array([upper, upper]) * key.normal(1, 0.03, 2) - (0 if blink else squint)
  lids = np.clip(lids, 0.0, 1.45)
  if key.random() < 0.02:
    lids[key.integers(0, 2)] = 0.05

  gaze = np.clip(key.normal(0, (0.024, 0.010)), (-0.06, -0.02), (0.06, 0.02))
  age = float(key.beta(1.3, 2.0))
  female = key.random() < 0.5

  # Drawn in this order: another one would make other faces.
  curves = FaceCurves(
    upper_lid=(float(lids[0]), float(lids[1])),
    lower_lid=(float(np.clip(key.normal(1 - squint, 0.12), 0.5, 1.4)),) * 2,
    gaze=(float(gaze[0]), float(gaze[1])),
    parting=parting,
    lip_height=(
      float(np.clip(key.normal(1, 0.16), 0.6, 1.35)),
      float(np.clip(key.normal(1, 0.13), 0.65, 1.3)),
    ),
    brow_height=float(np.clip(key.normal(0.72 if female else 1.0, 0.15), 0.45, 1.35)),
    brow_arch=float(np.clip(key.normal(0.008 if female else 0.0, 0.010), -0.015, 0.03)),
    brow_tilt=float(np.clip(key.normal(0, 0.014), -0.03, 0.03)),
  )

  look, hair = sample_look(key, female=female, age=age, light=light)
  draw = key.random()
  person = Person(
    shape=shape,
    curves=curves,
    look=look,
    hair=hair,
    ear_size=float(key.normal(0.95, 0.06)),
    ear_flare=float(key.uniform(0.22, 0.62)),
    glasses="clear" if draw < 0.13 else "dark" if draw < 0.17 else "",
    gloss=float(key.uniform(0.15, 0.8)),
  )
  return _varied(key, person) if varied else person


def _varied(key: np.random.Generator, person: Person) -> Person:
  """The same person, further from the mean and closer to anatomy.

  The outline of the face varies more. The ears lie as far behind the eyes as they do in people: the
  mean head is too shallow. Brows vary in length and slope. Nostrils open above the lower edge of
  the nose, which the landmarks mark, rather than on it. At the outer corner of many eyes the fold
  of the upper lid runs on.
  """
  shape = {name: 1.25 * w if name in _OUTLINE else w for name, w in person.shape.items()}
  shape["ears_back"] = float(np.clip(key.normal(1.0, 0.3), 0.3, 1.7))
  tilt = person.curves.brow_tilt + float(np.clip(key.normal(0, 0.02), -0.04, 0.04))
  curves = replace(
    person.curves, brow_tilt=tilt, brow_reach=float(np.clip(key.normal(1.0, 0.06), 0.85, 1.1))
  )
  nostrils = float(key.uniform(0.482, 0.502))
  hood = float(key.uniform(0.02, 0.09)) if key.random() < 0.7 else 0.0
  look = replace(person.look, nostrils=nostrils, hood=hood)
  return replace(person, shape=shape, curves=curves, look=look)


def _expression(key: np.random.Generator, shape: dict[str, float]) -> float:
  """Adds expression coefficients to `shape` and returns how far the lips part, 0..1."""
  sides = ("left", "right")
  paired = [f"{name}_{side}" for name in ("smile", "brow_up", "frown") for side in sides]
  shape.update(dict.fromkeys(["jaw_open", "pucker", *paired], 0.0))

  kind = key.choice(5, p=[0.36, 0.28, 0.16, 0.12, 0.08])
  parting = 0.0
  if kind == 0:  # quiet
    shape["smile_left"] = shape["smile_right"] = key.normal(0.0, 0.25)
    parting = float(np.clip(key.normal(-0.1, 0.2), 0, 0.5))
  elif kind == 1:  # smile, often with teeth
    strength = key.uniform(0.4, 1.5)
    shape["smile_left"], shape["smile_right"] = strength * key.normal(1, 0.08, 2)
    if key.random() < 0.6:
      parting = float(key.uniform(0.5, 1.0))
      shape["jaw_open"] = key.uniform(0.02, 0.12)
  elif kind == 2:  # talk
    shape["jaw_open"] = key.uniform(0.02, 0.16)
    shape["pucker"] = float(np.clip(key.normal(0.1, 0.4), -0.3, 1))
    parting = float(key.uniform(0.4, 1.0))
  elif kind == 3:  # wide open
    shape["jaw_open"] = key.uniform(0.15, 0.38)
    shape["smile_left"] = shape["smile_right"] = key.uniform(-0.3, 0.9)
    shape["brow_up_left"] = shape["brow_up_right"] = key.uniform(0.0, 1.2)
    parting = 1.0
  else:  # sulk
    shape["smile_left"], shape["smile_right"] = -key.uniform(0.2, 0.8, 2)
    shape["frown_left"] = shape["frown_right"] = key.uniform(0.3, 1.3)

  # Faces are never quite symmetric.
  lift = key.normal(0, 0.35)
  for side in sides:
    shape[f"brow_up_{side}"] += lift + key.normal(0, 0.12)
    shape[f"frown_{side}"] += max(0.0, key.normal(-0.1, 0.25))
  return parting
