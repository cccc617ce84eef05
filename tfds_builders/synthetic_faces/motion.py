"""How a head and a face move in a video: every quantity by a few slow sinusoids of its own."""

from dataclasses import dataclass, replace

import numpy as np

from tfds_builders.synthetic_faces.person import Person

_BLINK_SECONDS = 0.4


@dataclass(frozen=True)
class Wave:
  """A sum of sinusoids of time.

  Attributes:
    sizes: (N,) float64 amplitudes, in the unit of what moves.
    frequencies: (N,) float64, Hz.
    phases: (N,) float64, radians.
  """

  sizes: np.ndarray
  frequencies: np.ndarray
  phases: np.ndarray

  def at(self, seconds: float) -> float:
    """Its value, between plus and minus the sum of `sizes`."""
    angles = 2 * np.pi * self.frequencies * seconds + self.phases
    return float((self.sizes * np.sin(angles)).sum())


@dataclass(frozen=True)
class Motion:
  """What changes while a video runs, as differences from the person and the pose at rest.

  Attributes:
    turn: yaw, pitch and roll of the head, radians.
    shift: of the neck in the image, to the right and down, extents of the face.
    zoom: logarithm of the size in the image.
    smile: of both corners of the mouth, coefficients of the head's bases.
    brows: of both brows, as `smile`.
    speech: -1..1, from lips that rest to a jaw that is as far open as it gets.
    jaw: how far that is, as `smile`.
    gaze: of both irises, to the right and down, chart units.
    lids: opening of the upper lids, 1 for that of average eyes.
    blink: the time at which the eyes are shut, seconds; mostly after the end.
  """

  turn: tuple[Wave, Wave, Wave]
  shift: tuple[Wave, Wave]
  zoom: Wave
  smile: Wave
  brows: Wave
  speech: Wave
  jaw: float
  gaze: tuple[Wave, Wave]
  lids: Wave
  blink: float


def sample_motion(key: np.random.Generator) -> Motion:
  """A motion at random: a person who talks to the camera."""
  yaw, pitch, roll = np.radians((12.0, 6.0, 4.0))
  return Motion(
    turn=(_wave(key, yaw, 0.25, 1.2), _wave(key, pitch, 0.25, 1.4), _wave(key, roll, 0.2, 1.0)),
    shift=(_wave(key, 0.06, 0.1, 0.6), _wave(key, 0.04, 0.1, 0.6)),
    zoom=_wave(key, 0.05, 0.1, 0.5),
    smile=_wave(key, 0.5, 0.15, 0.8),
    brows=_wave(key, 0.6, 0.15, 1.0),
    speech=_wave(key, 1.0, 0.8, 2.2),
    jaw=float(key.uniform(0.0, 0.12)),
    gaze=(_wave(key, 0.03, 0.15, 1.0), _wave(key, 0.01, 0.15, 1.0)),
    lids=_wave(key, 0.12, 0.2, 0.8),
    blink=float(key.uniform(0.0, 4.0)),
  )


def _wave(key: np.random.Generator, largest: float, slowest: float, fastest: float) -> Wave:
  """Three sinusoids of at most `largest` together, the slower the larger; frequencies in Hz."""
  frequencies = np.exp(key.uniform(np.log(slowest), np.log(fastest), 3))
  shares = key.dirichlet(np.ones(3)) / frequencies
  return Wave(
    sizes=largest * key.uniform(0.3, 1.0) * shares / shares.sum(),
    frequencies=frequencies,
    phases=key.uniform(0, 2 * np.pi, 3),
  )


def moved(person: Person, motion: Motion, seconds: float) -> Person:
  """What the face does at this time of a video.

  Args:
    person: at rest.
    motion: its motion.
    seconds: time from the first frame.

  Returns:
    The same person.
  """
  smile, brows = motion.smile.at(seconds), motion.brows.at(seconds)
  speech = motion.jaw * (1 + motion.speech.at(seconds)) / 2
  shape = dict(person.shape)
  for side in ("left", "right"):
    shape[f"smile_{side}"] += smile
    shape[f"brow_up_{side}"] += brows
  shape["jaw_open"] += speech

  curves = person.curves
  gaze = [rest + wave.at(seconds) for rest, wave in zip(curves.gaze, motion.gaze, strict=True)]
  open_by = 1 - _blink(seconds - motion.blink)
  left, right = (max(lid + motion.lids.at(seconds), 0.0) * open_by for lid in curves.upper_lid)
  # Lips part as soon as the jaw falls, and are wide apart long before it is down.
  parting = 1 - (1 - curves.parting) * np.exp(-speech / 0.03)
  moving = replace(curves, gaze=(gaze[0], gaze[1]), upper_lid=(left, right), parting=float(parting))
  return replace(person, shape=shape, curves=moving)


def _blink(seconds: float) -> float:
  """How far the lids are shut, 0..1, by the time from the moment at which they are."""
  phase = np.clip(seconds / _BLINK_SECONDS, -0.5, 0.5)
  return float(np.cos(np.pi * phase) ** 2)
