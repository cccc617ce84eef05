"""Reading what a run left behind, interfering with its steps, and runs that were never trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from fan_variables import random_variables
from ml_collections import ConfigDict

from fal_jax import build, checkpoint, config_json, evaluate, parallel, steps, train
from fal_jax.output import metric_log
from fal_jax.output.provenance import provenance
from fal_jax.plots import figure

# The part of `eval/test.json` that a model card has, and some that it has not.
EVALUATION = {
  "num_images": 11,
  "nme_ic": 4.56789,
  "nme_box": 3.21098,
  "auc_ic_10": 54.5678,
  "fr_ic_8": 9.0909,
  "metric_names": {"ic": ["nme_ic", "auc_ic_10", "fr_ic_8"], "box": ["nme_box"]},
  "intervals": {"level": 95, "over": "faces", "nme_ic": [4.12345, 5.0], "fr_ic_8": [0.0, 20.0]},
  "boxes": {
    "landmarks": {"nme_ic": 4.56789, "fr_ic_8": 9.0909, "catastrophic_ic": 0.0},
    "detector": {"nme_ic": 4.98765, "fr_ic_8": 9.0909, "catastrophic_ic": 0.0},
    "dataset": None,
  },
}


def save_untrained(workdir: Path, config: ConfigDict, *, step: int) -> Path:
  """Writes what packing and exporting read of a run: random weights and made-up results.

  Args:
    workdir: the run's folder.
    config: of the run; its crop has 64 px.
    step: what the weights are said to be from.

  Returns:
    The folder.
  """
  setup = build.setup(config)
  variables = random_variables(setup.network, np.zeros((1, 64, 64, 3), np.float32))
  state = steps.first_state(variables, setup.recipe(steps_per_epoch=1))

  checkpoints = checkpoint.Checkpoints(workdir)
  extra = {"config": config_json.to_json(config), "train_images": 12}
  checkpoints.save(step, parallel.replicate(state), extra)
  checkpoints.close()

  (workdir / "eval").mkdir()
  written = EVALUATION | {"provenance": provenance(config, split="test", step=step)}
  (workdir / "eval" / "test.json").write_text(json.dumps(written))
  return workdir


def records(workdir: Path, name: str = "loss") -> dict[int, float]:
  """step -> value, of the records of metrics.jsonl that have it; each step once."""
  pairs = [(record["step"], record[name]) for record in metric_log.read(workdir) if name in record]
  values = dict(pairs)
  assert len(values) == len(pairs)
  return values


def saved_steps(workdir: Path) -> list[int]:
  """Steps of the checkpoints on disk, in order."""
  return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def events(workdir: Path) -> list[Any]:
  """Events of TensorBoard in the files of a run, the oldest file first."""
  from tensorboardX.proto.event_pb2 import Event

  found = []
  for path in sorted((workdir / "tensorboard").glob("events.out.tfevents.*")):
    data = path.read_bytes()
    while data:
      # A record is its length, a checksum of that, the event, and a checksum of that.
      length = int.from_bytes(data[:8], "little")
      found.append(Event.FromString(data[12 : 12 + length]))
      data = data[16 + length :]
  return found


def idle(
  config: ConfigDict, workdir: Path, *, on_batch: Callable[[Any], Any] | None = None, **options: Any
) -> None:
  """`train.train_and_evaluate` where nothing is compiled: it learns and evaluates nothing.

  Args:
    config: of the run.
    workdir: of the run.
    on_batch: called with each batch.
    **options: of `train_and_evaluate`.
  """

  def make_train_step(recipe: Any) -> Callable:
    def step(state: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
      if on_batch is not None:
        on_batch(batch)
      return state.replace(step=state.step + 1), {"rate": recipe.schedule(state.step)}

    return step

  with (
    mock.patch.object(parallel, "make_train_step", make_train_step),
    mock.patch.object(evaluate, "evaluate_split", lambda *_, **__: {"metric_names": {}}),
    mock.patch.object(figure, "has_matplotlib", lambda: False),
  ):
    train.train_and_evaluate(config, workdir, **options)


def before_step(number: int, act: Callable[[Any], Any]) -> Callable[[Callable], Callable]:
  """For `tiny_dataset.run`: calls `act(state)` before a step; it may return another state."""

  def around(step: Callable) -> Callable:
    calls = 0

    def call(state: Any, batch: Any) -> Any:
      nonlocal calls
      calls += 1
      if calls == number:
        state = act(state) or state
      return step(state, batch)

    return call

  return around
