"""One network on several boxes, and under several conditions, of the same faces."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from fal_jax.crop import BoxKind
from fal_jax.data import Source
from fal_jax.detect.load import load_detector
from fal_jax.landmarks import Markup, refined_boxes, tight_boxes
from fal_jax.robustness import detected
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


Measure = Callable[[Predictions], dict[str, Any]]


def measure(
  predictions: Predictions, *, markup: Markup, protocol: protocols.Protocol
) -> dict[str, Any]:
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
) -> dict[str, dict[str, Any] | None]:
  """The metrics of one split on several kinds of boxes.

  Args:
    predict: runs the network.
    measure: gives the metrics of predictions by name, percent.
    source: the split.
    own: the predictions on the config's own box, which are not made again.
    boxes: the kinds.

  Returns:
    Kind of box -> metrics by name, percent; the config's own kind first. None where a face of the
    split has no such box. On a real detector's boxes the metrics are those of the faces that it
    finds, and `missed` are the ids of the others.
  """
  predictions: dict[str, Predictions] = {own.faces.box: own}

  def predicted(box: BoxKind) -> Predictions:
    if box not in predictions:
      predictions[box] = predict(source, box=box)
    return predictions[box]

  results: dict[str, dict[str, Any] | None] = {own.faces.box: measure(own)}
  for box in boxes:
    match box:
      case "landmarks" | "detector" | "refined" if box != own.faces.box and not _have_extent(own):
        results[box] = None
      case "refined":
        first = predicted("detector")
        boxes_again = refined_boxes(first.landmarks, first.faces.boxes)
        again = detected.Recut(source, range(len(source)), boxes_again)
        results[box] = measure(predict(again, box="landmarks"))
      case "mtcnn" | "yunet":
        found, missed = detected.recut(source, load_detector(box))
        metrics = measure(predict(found, box="landmarks")) if found else {}
        results[box] = {**metrics, "missed": missed}
      case "dataset" if not _have_dataset_boxes(own):
        results[box] = None
      case _ if box != own.faces.box:
        results[box] = measure(predicted(box))
  return results


def by_condition(
  predict: Predict,
  measure: Measure,
  source: Source,
  *,
  box: BoxKind,
  conditions: Sequence[Condition] = CONDITIONS,
) -> dict[str, dict[str, Any]]:
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


def _have_extent(predictions: Predictions) -> bool:
  """Whether the annotated landmarks of every face have a box, as one alone has not."""
  boxes = tight_boxes(predictions.faces.landmarks)
  return bool((boxes[:, 2:] > boxes[:, :2]).any(-1).all())


def _have_dataset_boxes(predictions: Predictions) -> bool:
  boxes = predictions.faces.dataset_boxes
  return boxes is not None and bool(np.isfinite(boxes).all())
