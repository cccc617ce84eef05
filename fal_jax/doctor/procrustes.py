"""Similarity Procrustes analysis with missing landmarks: the mean shape, and distances from it.

Shapes are complex numbers x + iy here, because rotation and scaling are then one product;
(..., 2) arrays come in and go out.
"""

import numpy as np

# On genuine faces of every mark-up, the mean moves by less than 1e-4 of its size after five.
_ROUNDS = 8


def mean_shape(landmarks: np.ndarray, *, mirror_invariant: bool = False) -> np.ndarray:
  """The mean of all faces after alignment, as upright as they are on average.

  Args:
    landmarks: (N, K, 2) float, px; NaN where not annotated. At least one face needs two landmarks.
    mirror_invariant: a face and its mirror image count as one shape, as for profiles, which are
      seen from left or right.

  Returns:
    (K, 2) float64, centred at 0 with a root mean square distance of 1 from there; NaN for a
    landmark that is annotated nowhere.
  """
  shapes = _normalised(_complex(landmarks))
  if mirror_invariant:
    # The median of two kinds of profile would be neither: the most complete face instead.
    mean = shapes[np.isfinite(shapes).sum(1).argmax()]
  else:
    mean = _nan_median(shapes)

  for _ in range(_ROUNDS):
    aligned, turn, mirrored = _align(shapes, mean, mirror_invariant=mirror_invariant)
    mean = _normalised(_nan_mean(aligned)[None])[0]

    # Otherwise the mean would be turned as the first face or the median is, and might drift.
    upright = turn[~mirrored & np.isfinite(turn)]
    mean = mean * np.exp(-1j * np.angle((upright / np.abs(upright)).sum()))
  return np.stack([mean.real, mean.imag], -1)


def distances(
  landmarks: np.ndarray, mean: np.ndarray, *, mirror_invariant: bool = False
) -> np.ndarray:
  """How unlike the mean shape each face is, whatever its position, size and rotation.

  Args:
    landmarks: (N, K, 2) float, px; NaN where not annotated.
    mean: (K, 2), from `mean_shape`.
    mirror_invariant: as in `mean_shape`.

  Returns:
    (N,) float64, root mean square distance to the mean after the best similarity, in units of the
    mean; NaN for a face of fewer than two landmarks or without extent.
  """
  shapes = _normalised(_complex(landmarks))
  target = _complex(mean)
  aligned, _, _ = _align(shapes, target, mirror_invariant=mirror_invariant)
  return np.sqrt(_nan_mean((np.abs(aligned - target) ** 2).T))


def turns(landmarks: np.ndarray, mean: np.ndarray, *, mirror_invariant: bool = False) -> np.ndarray:
  """How far each face is turned against the mean shape.

  Args:
    landmarks: (N, K, 2) float, px; NaN where not annotated.
    mean: (K, 2), from `mean_shape`.
    mirror_invariant: as in `mean_shape`.

  Returns:
    (N,) float64, degrees from -180 to 180, clockwise as the image is seen; NaN for a face of fewer
    than two landmarks or without extent.
  """
  shapes = _normalised(_complex(landmarks))
  _, turn, mirrored = _align(shapes, _complex(mean), mirror_invariant=mirror_invariant)
  return np.degrees(np.angle(np.where(mirrored, turn, turn.conj())))


def mirror_disagreement(
  mean: np.ndarray, flip: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """How far a shape is from its mirror image under a flip permutation, and what would suit it.

  Args:
    mean: (K, 2), NaN for an unknown landmark.
    flip: (K,) int, see `landmarks.Markup.flip`.

  Returns:
    (K, 2) the mirror image, moved onto the shape; (K,) distance of each landmark to it, in units of
    the shape, NaN where it or its partner is unknown; (K,) int, the landmark whose mirror image
    lies nearest; and (K,) how near that is.
  """
  shape = _complex(mean)
  mirrored = -shape.conj()
  known = np.isfinite(shape)
  if not known.any():
    return mean.copy(), np.full(len(flip), np.nan), flip.copy(), np.full(len(flip), np.inf)

  # Fitted to the permutation alone, a wrong pair would drag all others along. So the nearest
  # partners are fitted, beginning from the permutation and from the upright mirror image, and the
  # permutation is compared with the better of the two symmetries.
  symmetries = [_symmetry(shape, mirrored, start) for start in (flip, _nearest(shape, mirrored)[0])]
  moved, nearest, gap = min(symmetries, key=lambda symmetry: symmetry[2][known].sum())
  image = moved[flip]
  distance = np.abs(image - shape)
  return np.stack([image.real, image.imag], -1), distance, np.where(known, nearest, flip), gap


def _symmetry(
  shape: np.ndarray, mirrored: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Moves the mirror image onto the shape, by partners that are chosen anew until they stay.

  Args:
    shape: (K,) complex, NaN where unknown.
    mirrored: (K,) complex, its mirror image somewhere.
    partners: (K,) int, for each landmark of the shape the one of the mirror image to begin with.

  Returns:
    (K,) complex, the moved mirror image; (K,) int, the partners; and (K,) how near these are.
  """
  moved = mirrored
  nearest = partners
  gap = np.empty(0)
  for _ in range(_ROUNDS):
    aligned, turn, _ = _align(mirrored[nearest][None], shape)
    known = np.isfinite(aligned[0])
    moved = turn[0] * mirrored + (aligned[0] - turn[0] * mirrored[nearest])[known].mean()

    previous = nearest
    nearest, gap = _nearest(shape, moved)
    if (nearest == previous).all():
      break
  return moved, nearest, gap


def _nearest(shape: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """For each point of a shape (K,), which of the others (K,) is nearest, and how near.

  Both are complex; the answer is 0 and infinity where the point is unknown.
  """
  distance = np.abs(others - shape[:, None])
  distance = np.where(np.isfinite(distance), distance, np.inf)
  return distance.argmin(1), distance.min(1)


def _complex(points: np.ndarray) -> np.ndarray:
  """(..., K, 2) to (..., K) complex, NaN where a coordinate is not finite."""
  points = np.asarray(points, np.float64)
  known = np.isfinite(points).all(-1)
  return np.where(known, points[..., 0] + 1j * points[..., 1], np.nan)


def _nan_mean(values: np.ndarray) -> np.ndarray:
  """(N, K) to (K,): mean over the first axis of what is known; NaN where nothing is."""
  known = np.isfinite(values)
  count = known.sum(0)
  return np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)


def _nan_median(shapes: np.ndarray) -> np.ndarray:
  """(N, K) complex to (K,): median of each coordinate over the first axis, as `_nan_mean`."""
  known = np.isfinite(shapes).any(0)
  filled = np.where(known, shapes, 0)  # numpy warns of columns without a number
  return np.where(known, np.nanmedian(filled.real, 0) + 1j * np.nanmedian(filled.imag, 0), np.nan)


def _normalised(shapes: np.ndarray) -> np.ndarray:
  """(N, K) complex, centred at 0, of root mean square 1; NaN where there is no extent."""
  centred = shapes - _nan_mean(shapes.T)[:, None]
  size = np.sqrt(_nan_mean((np.abs(centred) ** 2).T))
  return centred * (1 / np.where(size > 0, size, np.nan))[:, None]


def _align(
  shapes: np.ndarray, mean: np.ndarray, *, mirror_invariant: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The best similarity of each shape to the mean, over the landmarks that both know.

  Args:
    shapes: (N, K) complex, NaN where unknown.
    mean: (K,) complex, NaN where unknown.
    mirror_invariant: also tries the mirror image of each shape.

  Returns:
    (N, K) complex, the moved shapes; (N,) complex, the rotation and scale that were applied; (N,)
    bool, whether the shape was mirrored before.
  """
  known = np.isfinite(shapes) & np.isfinite(mean)
  targets = np.where(known, mean, np.nan)
  target_centre = _nan_mean(targets.T)[:, None]

  def fit(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shapes = np.where(known, shapes, np.nan)
    centred = shapes - _nan_mean(shapes.T)[:, None]
    product = np.where(known, centred.conj() * (targets - target_centre), 0).sum(1)
    energy = np.where(known, np.abs(centred) ** 2, 0).sum(1)

    turn = product * (1 / np.where(energy > 0, energy, np.nan))
    aligned = turn[:, None] * centred + target_centre
    error = np.where(known, np.abs(aligned - targets) ** 2, 0).sum(1)
    return aligned, turn, error

  aligned, turn, error = fit(shapes)
  mirrored = np.zeros(len(shapes), bool)
  if mirror_invariant:
    other, other_turn, other_error = fit(-shapes.conj())
    mirrored = other_error < error
    aligned = np.where(mirrored[:, None], other, aligned)
    turn = np.where(mirrored, other_turn, turn)
  return aligned, turn, mirrored
