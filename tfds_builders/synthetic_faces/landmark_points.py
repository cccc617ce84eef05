"""The landmarks as points on the head's surface."""

import numpy as np

from tfds_builders.synthetic_faces import body
from tfds_builders.synthetic_faces.camera import Camera
from tfds_builders.synthetic_faces.head import head_model, sample_triangles
from tfds_builders.synthetic_faces.landmark_curves import FaceCurves, jaw_paths, slide_jaw


def landmark_points(
  head: np.ndarray, curves: FaceCurves, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
  """The landmarks of both mark-ups.

  All are fixed to the surface except those of the jaw line, which annotators put on the visible
  contour of the face: they slide over the cheek to where it turns away from the camera.

  Args:
    head: (R, C, 3) float32 vertices, model frame.
    curves: where the features are.
    camera: decides what the contour is.

  Returns:
    (68, 3) and (98, 3) float64, model frame.
  """
  model = head_model()
  grid_68, grid_98 = (model.grid_from_chart(points) for points in curves.points())

  # The cosine between each path's surface and the direction to the camera, but for a factor.
  paths = jaw_paths(model)
  placed = camera.place(head.astype(np.float64))
  normal = body.patch_normals(placed)
  facing = normal[..., 2] * camera.distance - np.einsum("rcd,rcd->rc", normal, placed)
  along_paths = sample_triangles(facing[..., None], paths.reshape(-1, 2))
  along = slide_jaw(along_paths.reshape(paths.shape[:2]))

  i = np.minimum(along.astype(int), paths.shape[1] - 2)
  k = np.arange(len(paths))
  grid_98[:33] = paths[k, i] + (along - i)[:, None] * (paths[k, i + 1] - paths[k, i])
  grid_68[:17] = grid_98[:33:2]
  return sample_triangles(head, grid_68), sample_triangles(head, grid_98)
