"""iBUG's .pts, the format of 300W's annotations."""

import numpy as np


def text(points: np.ndarray) -> str:
  """A file's content.

  The one place where our convention becomes iBUG's: it calls the centre of the first pixel 1.

  Args:
    points: (K, 2) image px, pixel-centre.

  Returns:
    A header and one landmark per line.
  """
  lines = [f"{x:.3f} {y:.3f}" for x, y in points + 1]
  return "\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}", ""])
