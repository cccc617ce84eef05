"""What a system is given of the training faces: its box, and where its landmarks lie by definition.

A system that was made for another detector wants another box than the one tight around the
landmarks, and one that learnt another mark-up puts its points elsewhere on purpose. Both are
measured on training faces (`fit`) and on no others:

  box        a square on the tight box: how far down, and how large, in units of sqrt(w h)
  vertices   which of MediaPipe's 468 points stands for each of the 68
  offsets    a constant per landmark, in the frame of the two outer eye corners that were predicted
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from fal_jax import metrics
from fal_jax.detect import boxes as rules
from fal_jax.landmarks import markup

LOST = 20.0  # percent of the eye distance: what a face counts at most, and one without landmarks

# MediaPipe's mesh: these lie on the face's own mirror plane. Of the others the first 220 are on
# the person's right, and the n-th of them mirrors the n-th of the last 220.
MIDLINE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
MESH = 468  # vertices; the ten points of the irises come after them
_SIDE = 220


def square(box: np.ndarray, *, down: float, scale: float) -> np.ndarray:
  """The square that a system is given for a face.

  Args:
    box: (N, 4) x0, y0, x1, y1, tight around landmarks, px.
    down: the square's centre below that of the box, in sqrt(w h) of the box.
    scale: its side, likewise.

  Returns:
    (N, 4) float64, px.
  """
  return rules.apply(rules.Rule(0.0, down, scale, scale), box)


def search(
  loss: Callable[[float, float], float],
  *,
  start: tuple[float, float],
  steps: tuple[float, float],
  halvings: int,
) -> tuple[float, float]:
  """Looks for the two numbers of the smallest loss: walks to the best of eight neighbours.

  Args:
    loss: called once for each pair.
    start: where to begin.
    steps: to the neighbours, at first.
    halvings: how often the steps are halved where no neighbour is better.

  Returns:
    The best pair.
  """
  seen: dict[tuple[int, int], float] = {}
  finest = 2**halvings

  def value(place: tuple[int, int]) -> float:
    if place not in seen:
      seen[place] = loss(*(s + p * d / finest for s, p, d in zip(start, place, steps, strict=True)))
    return seen[place]

  best, step = (0, 0), finest
  while step:
    around = [(best[0] + i * step, best[1] + j * step) for i in (0, -1, 1) for j in (0, -1, 1)]
    nearest = min(around, key=value)  # the first of equals: where it is
    if nearest == best:
      step //= 2
    best = nearest
  first, second = (s + p * d / finest for s, p, d in zip(start, best, steps, strict=True))
  return first, second


def error(pred: np.ndarray, true: np.ndarray) -> float:
  """The mean error that boxes are tuned for: no face counts more than `LOST`.

  Args:
    pred: (N, 68, 2) px; NaN for a face that has no landmarks.
    true: (N, 68, 2) annotated, same pixels.

  Returns:
    Percent of the distance between the outer eye corners.
  """
  found = np.isfinite(pred).all((1, 2))
  counted = np.full(len(pred), LOST)
  norms = metrics.norms(true, 68)["ic"]
  counted[found] = metrics.nme(pred[found], true[found], norms[found]).clip(max=LOST)
  return float(counted.mean())


def fit_offsets(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
  """How far annotations lie from predictions: medians over faces.

  Args:
    pred: (N, 68, 2) px; NaN for a face that has no landmarks.
    true: (N, 68, 2) annotated, same pixels.

  Returns:
    (68,) complex128: along the line from the predicted right to the predicted left outer eye
    corner, and across it, in units of its length.
  """
  found = np.isfinite(pred).all((1, 2))
  drawn, wanted = _complex(pred[found]), _complex(true[found])
  offsets = (wanted - drawn) / _eyes(drawn)
  return np.median(offsets.real, 0) + 1j * np.median(offsets.imag, 0)


def add_offsets(pred: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """Moves predictions to where annotators put the points.

  Args:
    pred: (N, 68, 2) px.
    offsets: (68,) complex128, from `fit_offsets`.

  Returns:
    (N, 68, 2) px.
  """
  drawn = _complex(pred)
  moved = drawn + offsets * _eyes(drawn)
  return np.stack([moved.real, moved.imag], -1)


def mesh_mirror() -> np.ndarray:
  """(468,) int: the vertex that each of the mesh's vertices becomes in a mirror."""
  mirror = np.arange(MESH)
  sides = np.setdiff1d(mirror, MIDLINE)
  right, left = sides[:_SIDE], sides[_SIDE:]
  mirror[right], mirror[left] = left, right
  return mirror


def choose_vertices(mesh: np.ndarray, true: np.ndarray) -> np.ndarray:
  """The vertices of the mesh that lie nearest to annotated landmarks.

  A landmark of the midline gets a vertex of the midline, a pair gets a pair, and none is taken
  twice: of all such choices the one with the smallest sum of distances, medians over faces.

  Args:
    mesh: (N, 468 or more, 2) px; NaN for a face that was not found.
    true: (N, 68, 2) annotated, same pixels.

  Returns:
    (68,) int.
  """
  found = np.isfinite(mesh).all((1, 2))
  points, wanted = _complex(mesh[found, :MESH]), _complex(true[found])
  size = np.abs(_eyes(wanted))
  # (468, 68)
  distance = np.stack(
    [np.median(np.abs(points - wanted[:, k, None]) / size, 0) for k in range(wanted.shape[1])], 1
  )

  scheme, mirror = markup(68), mesh_mirror()
  middle = np.flatnonzero(scheme.flip == np.arange(68))
  right = np.array([k for k, name in enumerate(scheme.names) if name.startswith("right_")])
  half = np.setdiff1d(np.arange(MESH), MIDLINE)[:_SIDE]

  chosen = np.zeros(68, int)
  rows, columns = linear_sum_assignment(distance[np.ix_(MIDLINE, middle)])
  chosen[middle[columns]] = np.array(MIDLINE)[rows]

  pairs = distance[np.ix_(half, right)] + distance[np.ix_(mirror[half], scheme.flip[right])]
  rows, columns = linear_sum_assignment(pairs)
  chosen[right[columns]] = half[rows]
  chosen[scheme.flip[right[columns]]] = mirror[half[rows]]
  return chosen


def _complex(points: np.ndarray) -> np.ndarray:
  """(N, K) complex128 of (N, K, 2)."""
  return points[..., 0] + 1j * points[..., 1]


def _eyes(points: np.ndarray) -> np.ndarray:
  """(N, 1): from the right to the left outer eye corner, of (N, 68) complex128."""
  right, left = markup(68).outer_eyes or (0, 0)
  return points[:, left, None] - points[:, right, None]
