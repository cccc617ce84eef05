"""Face by face: the error curves of a table's rows, and what each face adds to its metric.

Both come from the predictions that the rows' evaluations have written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.plots import curves, figure
from fal_jax.scoring import landmark_files, matching, protocols, truth
from fal_jax.scoring.truth import Options, Truth


class ErrorCurves:
  """The figure of a table, drawn again with each result; every file is read once."""

  def __init__(self, path: Path, config: ConfigDict, *, metric: str):
    """Reads and draws nothing yet.

    Args:
      path: of the figure.
      config: of any row; names the dataset and the split that all rows are evaluated on.
      metric: of the table, e.g. "auc_box_7"; its normaliser is that of the curves.
    """
    self._path = path
    self._config = config
    self._norm = metric.split("_")[1]
    self._truth: Truth | None = None
    self._errors: dict[Path, np.ndarray] = {}
    self._metric = metric
    self.videos: list[str] | None = None  # of the M faces, where the dataset has them
    self._can_draw = self._can_read = True

  def draw(self, rows: Mapping[str, Sequence[Path]]) -> bool:
    """Draws a line per row, over the faces of all its seeds.

    What prevents it (no matplotlib, a dataset that is no longer there) is logged once.

    Args:
      rows: label -> files of predictions, one per seed; rows without one have no line.

    Returns:
      Whether there is a figure.
    """
    rows = {label: paths for label, paths in rows.items() if paths}
    if not rows or not self._can_draw or not self._can_read:
      return False

    try:
      if not figure.has_matplotlib():
        raise InputError(figure.NO_MATPLOTLIB)
      pooled = {label: np.concatenate([*map(self._nme, paths)]) for label, paths in rows.items()}
      curves.draw_ced(self._path, pooled, norm=self._norm, max_error=self._threshold())
    except InputError as error:
      logging.warning("No curves drawn: %s", error)
      self._can_draw = False
    return self._can_draw

  def contributions(self, path: Path) -> np.ndarray | None:
    """What each face adds to the mean that the table's metric is; `nme_ic`: its error.

    Args:
      path: of the predictions of one result.

    Returns:
      (M,) float64 percent, of the valid faces; None, which is logged once, where the dataset is no
      longer there.
    """
    if not self._can_read:
      return None
    try:
      nme = self._nme(path)
    except InputError as error:
      logging.warning("No intervals over faces: %s", error)
      self._can_read = False
      return None
    parts = metrics.per_face(nme, self._norm, metrics.THRESHOLDS[self._norm])
    return next(part.percent * part.values for part in parts if part.name == self._metric)

  def _nme(self, path: Path) -> np.ndarray:
    """(M,) float64 percent, of the valid faces of one file of predictions."""
    if path not in self._errors:
      if self._truth is None:
        self._truth = truth.read_dataset(self._config)
      true = self._truth.faces.landmarks
      file = landmark_files.read(path)
      pred = matching.match(file, self._truth, Options())[0].landmarks
      norm = metrics.norms(true, self._truth.markup)[self._norm]
      nme, valid = metrics.valid_errors(pred, true, norm)
      self._errors[path] = nme[valid]
      if names := self._truth.faces.videos:
        self.videos = [names[row] for row in np.flatnonzero(valid).tolist()]
    return self._errors[path]

  def _threshold(self) -> float:
    """Percent, where the curves end: as in the figure of a single evaluation."""
    assert self._truth is not None
    faces = self._truth.faces
    return protocols.find(faces.dataset, faces.name, norm=self._norm).thresholds[self._norm][0]
