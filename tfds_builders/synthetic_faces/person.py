"""Draws at random who is in the picture, what the face does and how the scene is lit."""

from dataclasses import dataclass

import numpy as np

from tfds_builders.synthetic_faces.body import HairStyle
from tfds_builders.synthetic_faces.camera import Camera, rotation
from tfds_builders.synthetic_faces.head import COLUMNS
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves
from tfds_builders.synthetic_faces.shading import Light
from tfds_builders.synthetic_faces.texture import SKIN_TONES, Look

_IDENTITY = (
  "width",
  "height",
  "skull",
  "depth",
  "jaw",
  "chin",
  "chin_width",
  "chin_depth",
  "cheekbones",
  "cheeks",
  "forehead",
  "nose_length",
  "nose_width",
  "nose_height",
  "nose_bridge",
  "nose_side",
  "eye_distance",
  "eye_size",
  "eye_tilt",
  "eye_height",
  "eye_depth",
  "brow_height",
  "brow_ridge",
  "mouth_width",
  "mouth_height",
  "mouth_side",
  "lips",
  "lips_depth",
  "lopsided",
)
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


def sample_person(key: np.random.Generator, light: Light) -> Person:
  """A person with an expression; the light only places the reflection in the eyes."""
  shape = {name: float(np.clip(key.normal(), -2.2, 2.2)) for name in _IDENTITY}
  for name in ("nose_side", "mouth_side", "lopsided"):
    shape[name] *= 0.6
  parting = _expression(key, shape)
  blink = key.random() < 0.05
  upper = 0.06 * key.random() if blink else float(np.clip(key.normal(1.0, 0.12), 0.6, 1.28))
  squint = max(0.0, 0.12 * (shape["smile_left"] + shape["smile_right"]) / 2)
  lids = np.clip(
    np.array([upper, upper]) * key.normal(1, 0.03, 2) - (0 if blink else squint), 0.0, 1.45
  )
  if key.random() < 0.02:
    lids[key.integers(0, 2)] = 0.05
  gaze = np.clip(key.normal(0, (0.024, 0.010)), (-0.06, -0.02), (0.06, 0.02))
  age = float(key.beta(1.3, 2.0))
  female = key.random() < 0.5
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
  look, hair = _look(key, female=female, age=age, light=light)
  draw = key.random()
  return Person(
    shape=shape,
    curves=curves,
    look=look,
    hair=hair,
    ear_size=float(key.normal(0.95, 0.06)),
    ear_flare=float(key.uniform(0.22, 0.62)),
    glasses="clear" if draw < 0.13 else "dark" if draw < 0.17 else "",
    gloss=float(key.uniform(0.15, 0.8)),
  )


def _expression(key: np.random.Generator, shape: dict[str, float]) -> float:
  """Adds expression coefficients to `shape` and returns how far the lips part, 0..1."""
  paired = [
    f"{name}_{side}" for name in ("smile", "brow_up", "frown") for side in ("left", "right")
  ]
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
  lift = key.normal(0, 0.35)
  for side in ("left", "right"):
    shape[f"brow_up_{side}"] += lift + key.normal(0, 0.12)
    shape[f"frown_{side}"] += max(0.0, key.normal(-0.1, 0.25))
  return parting


def _look(
  key: np.random.Generator, *, female: bool, age: float, light: Light
) -> tuple[Look, HairStyle]:
  tone = key.beta(1.0, 1.3) * (len(SKIN_TONES) - 1)
  i = int(tone)
  skin = SKIN_TONES[i] + (tone - i) * (SKIN_TONES[min(i + 1, 9)] - SKIN_TONES[i])
  skin = np.clip(skin * (1 + key.normal(0, 0.025, 3)), 20, 252).astype(np.float32)
  dark = tone / (len(SKIN_TONES) - 1)
  if age > 0.62 and key.random() < 0.75:
    hair_colour = _HAIR_COLOURS[key.integers(8, 10)]
  else:
    hair_colour = _HAIR_COLOURS[int(np.clip(key.beta(1.0, 0.9 + 3.5 * dark) * 8, 0, 7))]
  hair_colour = np.clip(hair_colour * key.uniform(0.85, 1.2), 12, 235).astype(np.float32)
  brows = np.clip(
    hair_colour * 0.72 if hair_colour.mean() < 180 else hair_colour * 0.6, 12, 150
  ).astype(np.float32)
  brows = np.minimum(0.85 * brows + 0.15 * skin, skin * 0.62)
  natural = skin * (0.90, 0.66, 0.64) if dark < 0.6 else skin * (0.98, 0.76, 0.78)
  painted = np.array([[176, 38, 52], [150, 30, 60], [205, 92, 96], [120, 30, 42]], np.float32)[
    key.integers(0, 4)
  ]
  makeup = key.uniform(0.3, 0.8) if female and key.random() < 0.4 else 0.0
  lips = (natural * key.uniform(0.93, 1.06) * (1 - makeup) + painted * makeup).astype(np.float32)
  curl = float(key.beta(1, 2.5) if dark < 0.55 else key.beta(2.5, 1))
  beard = 0.0 if female or key.random() < 0.55 else float(key.choice([0.25, 0.45, 0.85]))
  moustache = beard if beard else (0.0 if female or key.random() < 0.9 else 0.8)
  style = _hair_style(key, female=female, age=age, curl=curl)
  look = Look(
    skin=skin,
    redness=float(key.normal(0, 0.5)),
    age=age,
    lips=lips,
    freckles=float(key.uniform(0.3, 1)) if key.random() < 0.10 and dark < 0.5 else 0.0,
    iris=_EYE_COLOURS[int(np.clip(key.beta(1.0, 0.8 + 5 * dark) * 6, 0, 5))]
    * key.uniform(0.85, 1.15),
    hair=hair_colour,
    brows=brows,
    brow_density=float(np.clip(key.normal(0.75, 0.15), 0.4, 0.95)),
    beard=beard,
    moustache=moustache,
    lashes=float(key.uniform(0.4, 1.0) if female else key.uniform(0, 0.4)),
    clothes=np.clip(key.uniform(20, 235) + key.normal(0, 30, 3), 8, 245).astype(np.float32),
    parting_at=float(key.uniform(0.36, 0.64) * COLUMNS)
    if key.random() < 0.5 and curl < 0.5
    else -1.0,
    curl=curl,
    light=(float(light.direction[0]), float(light.direction[1])),
  )
  return look, style


def _hair_style(key: np.random.Generator, *, female: bool, age: float, curl: float) -> HairStyle:
  draw = key.random()
  hairline = float(np.clip(key.normal(-0.05, 0.2), -0.5, 0.25))
  if female:
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


def sample_light(key: np.random.Generator) -> Light:
  """A lamp somewhere in front and above, warm or cold, hard or soft."""
  azimuth = key.normal(0, 0.75)
  elevation = key.normal(0.45, 0.35)
  direction = np.array(
    [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
  )
  warmth = key.normal(0, 0.09)
  lamp = key.uniform(0.55, 1.05) * np.array([1 + warmth, 1.0, 1 - warmth])
  fill = key.uniform(0.16, 0.55)
  tint = 1 + key.normal(0, 0.05, 3)
  side = key.choice([-1, 1])
  rim = np.array([0.95 * side, -0.25, -0.15])
  strength = key.uniform(0, 0.5) if key.random() < 0.4 else 0.0
  return Light(
    direction=direction,
    lamp=lamp.astype(np.float32),
    above=(fill * tint * (1 - 0.5 * warmth)).astype(np.float32),
    below=(fill * tint * key.uniform(0.3, 0.8)).astype(np.float32),
    rim=rim / np.linalg.norm(rim),
    rim_colour=(strength * (1 + key.normal(0, 0.15, 3))).astype(np.float32),
    softness=float(key.uniform(0.1, 0.9)),
  )


def sample_camera(key: np.random.Generator) -> Camera:
  """A pose and a distance; scale and offset are set by the framing."""
  degrees = np.clip(key.normal(0, (21, 10, 10)), (-45, -25, -25), (45, 25, 25))
  if key.random() < 0.25:
    degrees[0] = key.uniform(-45, 45)
  yaw, pitch, roll = np.radians(degrees)
  return Camera(
    head=rotation(yaw, pitch, roll),
    body=rotation(0.45 * yaw + key.normal(0, 0.12), 0.15 * pitch, 0.25 * roll),
    distance=float(np.exp(key.uniform(np.log(6.5), np.log(18)))),
  )
