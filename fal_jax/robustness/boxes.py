"""The kinds of boxes to evaluate on; apart, since every config is checked for them."""

from collections.abc import Sequence
from typing import Literal, get_args

from fal_jax.crop import BoxKind
from fal_jax.errors import InputError

# "refined" is cut tight around the landmarks that were predicted in the "detector" box, which is
# simulated; the others are what these detectors really draw.
RealDetector = Literal["mtcnn", "yunet"]
EvalBox = Literal[BoxKind, "refined", RealDetector]


def check(boxes: Sequence[str]) -> None:
  """Raises InputError where `config.eval.boxes` names something else than boxes that can be had."""
  if isinstance(boxes, str) or not set(boxes) <= {*get_args(EvalBox)}:
    raise InputError(
      f"config.eval.boxes is {boxes!r}; name some of {', '.join(get_args(EvalBox))}, "
      "e.g. --config.eval.boxes=\"('landmarks','detector')\", or none: \"()\"."
    )
  if real := {*get_args(RealDetector)} & {*boxes}:
    from fal_jax.detect.load import load_detector

    for name in real:
      load_detector(name)  # what is not installed must not be found out after hours
