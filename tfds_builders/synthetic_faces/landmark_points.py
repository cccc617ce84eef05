"""The landmarks as points on the head's surface."""

import functools

import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.head import head_model, sample_triangles
from tfds_builders.synthetic_faces.landmark_curves import (
  FaceCurves,
  even_positions,
  jaw_paths,
  outermost,
  slide_jaw,
)


def landmark_points(
  head: np.ndarray,
  curves: FaceCurves,
  camera: Camera,
  *,
  annotated: bool = False,
  contour: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """The landmarks of both mark-ups.

  All are fixed to the surface except those of the jaw line, which annotators put on the visible
  contour of the face: they slide over the cheek to where it turns away from the camera.

  Args:
    head: (R, C, 3) float32 vertices, model frame.
    curves: where the features are.
    camera: decides what the contour is.
    annotated: as an annotator of a photograph places them. The ends of the jaw line and the chin
      are landmarks that can be recognised; the others have no place of their own, and are put at
      even distances along the contour that the image shows. Otherwise each keeps to its own line
      over the cheek, as a 3-D model would have it, and they crowd on the far side of a turned
      head. `FaceCurves.points` says what it changes on brows and mouth.
    contour: (33, 2) where the jaw line is instead, see `jaw_contour`.

  Returns:
    (68, 3) and (98, 3) float64, model frame.
  """
  model = head_model()
  grid_68, grid_98 = (model.grid_from_chart(p) for p in curves.points(annotated=annotated))
  if contour is None:
    contour = jaw_contour(head, camera, annotated=annotated)

  grid_98[:33] = contour
  grid_68[:17] = grid_98[:33:2]
  return sample_triangles(head, grid_68), sample_triangles(head, grid_98)


def jaw_contour(head: np.ndarray, camera: Camera, *, annotated: bool = False) -> np.ndarray:
  """Where the jaw line is seen; arguments as in `landmark_points`.

  Returns:
    (33, 2) float64, column and row on the grid of the head.
  """
  # The cosine between the surface and the direction to the camera, but for a factor.
  placed = camera.place(head.astype(np.float64))
  normal = body.patch_normals(placed)
  facing = normal[..., 2] * camera.distance - np.einsum("rcd,rcd->rc", normal, placed)

  paths = _paths(annotated)
  if not annotated:
    return _at(paths, slide_jaw(_along(paths, facing[..., None])[..., 0]))

  contour = _outline(paths, facing, head, camera)
  shown = camera.project(camera.place(sample_triangles(head, contour)))
  return _outline(_between(paths, even_positions(shown)), facing, head, camera)


@functools.cache
def _paths(from_ears: bool) -> np.ndarray:
  """`jaw_paths`, made once; not to be written to."""
  return jaw_paths(head_model(), from_ears=from_ears)


def _outline(paths: np.ndarray, facing: np.ndarray, head: np.ndarray, camera: Camera) -> np.ndarray:
  """Where jaw paths (33, S, 2) cross the outline of the face in the image: (33, 2) grid positions.

  `facing` (R, C) is positive where the head (R, C, 3) faces the camera.
  """
  shown = camera.project(camera.place(_along(paths, head)))
  distance = np.linalg.norm(shown - shown[:, 0].mean(0), axis=-1)
  return _at(paths, outermost(_along(paths, facing[..., None])[..., 0], distance))


def _along(paths: np.ndarray, grid: np.ndarray) -> np.ndarray:
  """Values of a grid (R, C, D) along paths (N, S, 2): (N, S, D) float64."""
  return sample_triangles(grid, paths.reshape(-1, 2)).reshape(*paths.shape[:2], -1)


def _at(paths: np.ndarray, along: np.ndarray) -> np.ndarray:
  """Points (N, 2) of paths (N, S, 2) at positions `along` (N,), 0..S-1."""
  i = np.minimum(along.astype(int), paths.shape[1] - 2)
  k = np.arange(len(paths))
  return paths[k, i] + (along - i)[:, None] * (paths[k, i + 1] - paths[k, i])


def _between(paths: np.ndarray, at: np.ndarray) -> np.ndarray:
  """Paths (N, S, 2) at positions `at` (N,) among the given ones, 0..N-1, by interpolation."""
  i = np.clip(at.astype(int), 0, len(paths) - 2)
  f = (at - i)[:, None, None]
  return paths[i] * (1 - f) + paths[i + 1] * f
