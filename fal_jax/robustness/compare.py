"""One network on several boxes, and under several conditions, of the same faces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fal_jax.crop import BoxKind
from fal_jax.data import Source
from fal_jax.landmarks import Markup, refined_boxes
from fal_jax.robustness.boxes import EvalBox
from fal_jax.robustness.conditions import CONDITIONS, Condition
from fal_jax.scoring import protocols
from fal_jax.scoring import summary as summaries
from fal_jax.scoring.faces import Predictions


class Predict(Protocol):
  """Runs a network over a split."""

  def __call__(
    self, source: Source, *, box: BoxKind, condition: Condition | None = None
  ) -> Predictions:
    """Predicts all faces of the source, cut out by one kind of box, under a condition."""


Measure = Callable[[Predictions], dict[str, float]]


def measure(
  predictions: Predictions, *, markup: Markup, protocol: protocols.Protocol
) -> dict[str, float]:
  """All metrics of predictions under a protocol, by name, percent."""
  summary = summaries.measure(predictions, markup, protocol).summary()
  names = [name for names in summary["metric_names"].values() for name in names]
  return {name: summary[name] for name in names}


def by_box(
  predict: Predict,
  measure: Measure,
  source: Source,
  own: Predictions,
  *,
  boxes: Sequence[EvalBox],
) -> dict[str, dict[str, float] | None]:
  """The metrics of one split on several kinds of boxes.

  Args:
    predict: runs the network.
    measure: gives the metrics of predictions by name, percent.
    source: the split.
    own: the predictions on the config's own box, which are not made again.
    boxes: the kinds.

  Returns:
    Kind of box -> metrics by name, percent; the config's own kind first. None where a face of the
    split has no such box.
  """
  predictions: dict[str, Predictions] = {own.faces.box: own}

  def predicted(box: BoxKind) -> Predictions:
    if box not in predictions:
      predictions[box] = predict(source, box=box)
    return predictions[box]

  results: dict[str, dict[str, float] | None] = {own.faces.box: measure(own)}
  for box in boxes:
    if box == "refined":
      recut = _Recut(source, predicted("detector"))
      results[box] = measure(predict(recut, box="landmarks"))
    elif box == "dataset" and not _have_dataset_boxes(own):
      results[box] = None
    elif box != own.faces.box:
      results[box] = measure(predicted(box))
  return results


def by_condition(
  predict: Predict,
  measure: Measure,
  source: Source,
  *,
  box: BoxKind,
  conditions: Sequence[Condition] = CONDITIONS,
) -> dict[str, dict[str, float]]:
  """The metrics of one split under several conditions.

  Args:
    predict: runs the network.
    measure: gives the metrics of predictions by name, percent.
    source: the split.
    box: the kind of box that is displaced.
    conditions: what is done to the faces.

  Returns:
    Name of the condition -> metrics by name, percent.
  """
  return {
    condition.name: measure(predict(source, box=box, condition=condition))
    for condition in conditions
  }


class _Recut(Sequence[Mapping[str, Any]]):
  """A split whose landmark boxes are those of predicted landmarks."""

  def __init__(self, source: Source, predictions: Predictions):
    self._source = source
    self._boxes = refined_boxes(predictions.landmarks, predictions.faces.boxes)

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: Any) -> Any:
    box = self._boxes[index]  # first: iteration ends by the IndexError, which readers do not raise
    return {**self._source[index], "box_landmarks": box}


def _have_dataset_boxes(predictions: Predictions) -> bool:
  boxes = predictions.faces.dataset_boxes
  return boxes is not None and bool(np.isfinite(boxes).all())
