"""Landmarks of one mark-up from those of another: WFLW's 98 to the 68 of 300W, and these to its 51.

The 51 are the 68 without the jaw. Of the map from 98, a caveat that no formula removes: the
annotators of WFLW and of 300W drew different curves, so a perfect WFLW network is not perfect by
300W's annotation. The author of WFLW warns that mapped networks do poorly on 300W (wywu/LAB, issue
17). Results made through this map compare only with results made through it.
"""

import functools

import numpy as np
from numpy.typing import ArrayLike

from fal_jax.errors import InputError

JAW = 17  # landmarks of 68 that are not among the 51

# The brows of 68, right then left, each as landmarks of 98 whose mean it is: the outer tips as they
# are, all others halfway between the two points of the outline above each other.
_BROWS = (
  *((33,), (34, 41), (35, 40), (36, 39), (37, 38)),
  *((42, 50), (43, 49), (44, 48), (45, 47), (46,)),
)


@functools.cache
def matrix_98_to_68() -> np.ndarray:
  """Weights of the map; each of the 68 landmarks is a mean of some of the 98.

  jaw 0-16     every second of the 33 points.
  brows 17-26  the outer tip (33, 46) as it is; else the mean of the two points of the outline above
               each other.
  nose 27-35   as it is.
  eyes 36-47   corners as they are; a lid of 98 has three points at about 1/4, 1/2, 3/4, one of 68
               has two at about 1/3, 2/3: each is 2/3 of the outer and 1/3 of the middle point.
  mouth 48-67  as it is. The pupils (96, 97) are dropped.

  Source: convert_wflw of jhb86253817/PIPNet, which defined the mapping that papers use.
  Deviation: PIPNet averages only the y of brow points and takes x from the upper one, which is no
  longer a rule about faces once they are turned; and its weights .666 and .333 sum to .999, which
  moves a point at x = 1000 by one pixel towards the image's corner. Ours treats x and y alike and
  sums to 1.

  Returns:
    (68, 98) float64, read-only: row k holds the weights for landmark k of the 68; rows sum to 1.
  """
  matrix = np.zeros((68, 98))

  def put(k: int, *sources: int, weights: tuple[float, ...] = (1.0,)) -> None:
    matrix[k, list(sources)] = weights if len(weights) == len(sources) else 1 / len(sources)

  for k in range(17):
    put(k, 2 * k)
  for k, sources in enumerate(_BROWS):
    put(17 + k, *sources)
  for k in range(9):
    put(27 + k, 51 + k)

  for first, eye in ((36, 60), (42, 68)):
    put(first, eye)
    put(first + 3, eye + 4)
    for k, outer, middle in ((1, 1, 2), (2, 3, 2), (4, 5, 6), (5, 7, 6)):
      put(first + k, eye + outer, eye + middle, weights=(2 / 3, 1 / 3))

  for k in range(20):
    put(48 + k, 76 + k)
  matrix.flags.writeable = False
  return matrix


def map_98_to_68(landmarks: ArrayLike) -> np.ndarray:
  """Landmarks of WFLW as those of 300W; see the top of this file for the caveat.

  Args:
    landmarks: (..., 98, 2), px; NaN where missing.

  Returns:
    (..., 68, 2) float64, same pixels; NaN where a landmark that it comes from is missing.
  """
  landmarks = np.asarray(landmarks, np.float64)
  if landmarks.shape[-2:] != (98, 2):
    raise InputError(
      f"landmarks have shape {landmarks.shape}, expected (..., 98, 2): only WFLW's mark-up can be "
      "mapped to 68"
    )

  mapped = np.zeros((*landmarks.shape[:-2], 68, 2))
  for k, weights in enumerate(matrix_98_to_68()):
    # Only the sources: 0 * NaN would spoil what does not come from the missing landmark.
    sources = np.flatnonzero(weights)
    mapped[..., k, :] = weights[sources] @ landmarks[..., sources, :]
  return mapped


def map_68_to_51(landmarks: ArrayLike) -> np.ndarray:
  """The inner landmarks of 300W's mark-up.

  Args:
    landmarks: (..., 68, 2), px; NaN where missing.

  Returns:
    (..., 51, 2) float64, same pixels.
  """
  landmarks = np.asarray(landmarks, np.float64)
  if landmarks.shape[-2:] != (68, 2):
    raise InputError(
      f"landmarks have shape {landmarks.shape}, expected (..., 68, 2): only 300W's mark-up has "
      "these 51 inner points"
    )
  return landmarks[..., JAW:, :]
