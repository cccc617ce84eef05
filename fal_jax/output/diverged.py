"""A run that diverges: what is no longer finite, since when, and the batch that did it."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax import affine, data
from fal_jax.build import Setup
from fal_jax.errors import Diverged, join_names
from fal_jax.output.folders import make_dir
from fal_jax.plots import sheets


class Watch:
  """Sees to it that nothing of a run that has diverged is written.

  Steps are dispatched without waiting for them: their metrics are taken in as they come, and looked
  at when a result is needed.
  """

  def __init__(
    self,
    setup: Setup,
    source: data.Source,
    mix: data.Mix,
    *,
    predict: Callable,
    probe: Callable[[], np.ndarray],
    workdir: Path,
    ahead: int,
  ):
    """Begins with the first step of a start.

    Args:
      setup: what the run's config describes.
      source: the split that it trains on.
      mix: what else is in its batches.
      predict: from `parallel.make_predict`.
      probe: gives (B, H, H, 3) uint8 crops that weights must be able to predict.
      workdir: the run's folder.
      ahead: see `sampling.order.image_order`.
    """
    self._report = functools.partial(
      _report, source=source, mix=mix, setup=setup, workdir=workdir, ahead=ahead
    )
    self._predict = predict
    self._probe = functools.cache(probe)
    self._unseen: list[tuple[int, Mapping[str, Any]]] = []  # since the last look

  def take(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Takes in the metrics of a step, arrays () that may still be computed."""
    self._unseen.append((step, metrics))

  def look(self, state: Any | None, *, newest: Callable[[], int | None]) -> dict[str, float]:
    """Waits for the last step and looks at it.

    Args:
      state: `steps.TrainState` if it is going to be saved.
      newest: gives the step of the run's newest checkpoint; None if there is none.

    Returns:
      The metrics of that step.

    Raises:
      Diverged: one of them is not finite, or the state cannot predict; its batch is kept.
    """
    _, metrics = self._unseen[-1]
    values = {name: float(value) for name, value in metrics.items()}
    bad = bad_metrics(values)
    if state is not None and not bad:
      bad = bad_parts(state) or bad_predictions(self._predict, state, self._probe())
    if bad:
      raise self._report(bad, self._unseen, newest=newest())
    self._unseen.clear()
    return values


def bad_metrics(values: Mapping[str, Any]) -> list[str]:
  """Names of the metrics of a step that are NaN or infinite."""
  return [name for name, value in values.items() if not math.isfinite(value)]


def bad_parts(state: Any) -> list[str]:
  """Which parts of a training state hold NaN or an infinite number.

  Args:
    state: `steps.TrainState`, or a tree whose parts are attributes of that name.

  Returns:
    Of "params", "batch_stats" and "opt_state", those that do.
  """
  parts = {name: getattr(state, name) for name in ("params", "batch_stats", "opt_state")}
  finite = _are_finite(parts)
  return [name for name, is_finite in finite.items() if not is_finite]


@jax.jit
def _are_finite(parts: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Part -> () bool: whether all numbers in it are finite."""
  return {
    name: jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(part)], bool))
    for name, part in parts.items()
  }


def bad_predictions(predict: Callable, state: Any, images: np.ndarray) -> list[str]:
  """Whether weights that are finite overflow on the way to the landmarks of a face.

  Args:
    predict: from `parallel.make_predict`.
    state: `steps.TrainState`.
    images: (B, H, H, 3) uint8 crops.

  Returns:
    One name if they do, none otherwise.
  """
  landmarks, scores, _ = predict(state.variables, images)
  is_finite = np.isfinite(landmarks).all() and np.isfinite(scores).all()
  return [] if is_finite else ["what the network predicts"]


def _report(
  what: Sequence[str],
  unseen: Sequence[tuple[int, Mapping[str, Any]]],
  *,
  source: data.Source,
  mix: data.Mix,
  setup: Setup,
  workdir: Path,
  newest: int | None,
  ahead: int,
) -> Diverged:
  """The end of a run that diverged; keeps the batch of the step at which that was seen first.

  Args:
    what: names of what is not finite after the last of these steps.
    unseen: the steps since the last look at a result, with their metrics.
    source: the split that it trains on.
    mix: what else is in its batches.
    setup: what its config describes.
    workdir: its folder.
    newest: step of its newest checkpoint; None if there is none.
    ahead: see `sampling.order.image_order`.

  Returns:
    To be raised.
  """
  last = unseen[-1][0]
  step = next((step for step, values in unseen if bad_metrics(values)), last)
  finite_until = step - 1 if bad_metrics(dict(unseen)[step]) else unseen[0][0] - 1
  checkpoint = "no checkpoint was saved before"
  if newest is not None:
    checkpoint = f"the newest checkpoint, of step {newest}, is from before that"

  batch, ids = _batch(step, source, mix, setup=setup, ahead=ahead)
  kept = ""
  if jax.process_index() == 0:
    path = _keep(batch, ids, make_dir(workdir, "diverged") / f"step_{step}.npz", setup=setup)
    kept = f" {path} holds it, {path.with_suffix('.jpg').name} beside it shows it;"
  return Diverged(
    f"{' and '.join(what)} became NaN or infinite after step {finite_until}, by step {step}; "
    f"{checkpoint}. The batch of step {step} was of {join_names(ids, limit=4)};{kept} lower "
    "config.optimizer.learning_rate and restart with a new --workdir."
  )


def _batch(
  step: int, source: data.Source, mix: data.Mix, *, setup: Setup, ahead: int
) -> tuple[dict[str, np.ndarray], list[str]]:
  """The batch of a step, of all processes together, as the loop got it, and names of its faces."""
  batches = data.train_batches(
    source,
    rule=setup.crop,
    batch_size=setup.config.train.batch_size,
    seed=setup.config.seed,
    mix=mix,
    start_step=step - 1,
    ahead=ahead,
  )
  try:
    batch = next(batches)
  finally:
    batches.close()  # type: ignore[attr-defined]  # grain's iterators have it
  records = data.joined(source, mix)
  return batch, [data.example_id(records[int(index)]) for index in batch["index"]]


def _keep(batch: Mapping[str, np.ndarray], ids: Sequence[str], path: Path, *, setup: Setup) -> Path:
  """Writes a batch as .npz, and a sheet of its faces beside it as .jpg."""
  np.savez(path, ids=np.array(ids), **batch)  # type: ignore[arg-type]  # no array is a flag of it
  stored_from_crop = affine.invert(setup.crop.crop_from_stored.astype(np.float64))
  annotated = affine.apply(stored_from_crop, batch["landmarks"].astype(np.float64))
  sheets.draw_faces(
    path.with_suffix(".jpg"),
    batch["image"],
    annotated,
    np.full_like(annotated, np.nan),  # nothing is predicted
    markup=setup.markup,
    titles=ids,
    columns=8,
    scale=1,
  )
  return path
