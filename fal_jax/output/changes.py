"""What may have changed when a run resumes, and where it then is in its data."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from fal_jax import config_json
from fal_jax.errors import InputError
from fal_jax.output import provenance

# What no run can resume with, whatever --allow_changed says: another state, or other images in
# another order. The weights it began with act no more.
FIXED = (
  "seed",
  "head",
  "init_from",
  "data.name",
  "data.train_split",
  "data.mix",
  "data.markup",
  "data.own_markup",
  "model.name",
  "model.num_stacks",
  "model.features",
  "model.depth",
  "model.expansion",
)

# Sections and keys of the config that may change when resuming: they do not affect the trained
# weights. The number of epochs may change too, as long as the learning rate drops at given
# epochs and nothing happens at given fractions of the run.
FREE_ON_RESUME = (
  "data.dir",
  "data.cache",
  "eval.",
  "checkpoint.",
  "log.",
  "model.remat",
)


def check_allowed(keys: Sequence[str], config: Mapping[str, Any]) -> None:
  """Checks what --allow_changed names.

  Args:
    keys: dotted names.
    config: of the run, nested.

  Raises:
    InputError: it is not a key of the config, or no run can resume with another value of it.
  """
  known = config_json.flat(config)
  for key in keys:
    if key not in known:
      raise InputError(
        f"--allow_changed={key} is not a key of the config: see configs/default.py for all, "
        "written without `config`, such as train.batch_size."
      )
    if key in FIXED:
      raise InputError(
        f"--allow_changed={key}: a run keeps this key, on which the shape of its state or the "
        "order of its images depends; use another --workdir, with --config.init_from to start from "
        "its weights."
      )


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a run is when it starts or resumes.

  Attributes:
    step: updates made.
    total_steps: updates after which it ends.
    ahead: `images_ahead`.
    steps_ahead: the same in steps of the present batch size, may be fractional: in its epochs the
      run is at `step` + `steps_ahead`.
  """

  step: int
  total_steps: int
  ahead: int
  steps_ahead: float


def place(
  changes: Sequence[Mapping[str, Any]],
  step: int,
  *,
  batch_size: int,
  steps_per_epoch: float,
  epochs: float,
) -> Place:
  """Where a run is whose batch size may have changed on the way.

  Args:
    changes: see `images_ahead`.
    step: updates made.
    batch_size: the present one.
    steps_per_epoch: steps of that size in one pass over the data, may be fractional.
    epochs: length of the run.

  Returns:
    The place; a run that went further, under more epochs, is at its end.
  """
  ahead = images_ahead(changes)
  steps_ahead = ahead / batch_size
  total_steps = max(round(epochs * steps_per_epoch - steps_ahead), step)
  return Place(step, total_steps, ahead, steps_ahead)


def images_ahead(changes: Sequence[Mapping[str, Any]]) -> int:
  """Images by which a run is further than its steps times its present batch size.

  So the order of the images goes on where it was: a place in it is `ahead` + step * batch size.

  Args:
    changes: `step`, updates made until then, and `keys`, what each changed key was and what it
      became; the earliest first.

  Returns:
    The number; negative if earlier batches were smaller, 0 if there was no other batch size.
  """
  key = "train.batch_size"
  pairs = [(change["step"], *change["keys"][key]) for change in changes if key in change["keys"]]
  return sum(step * (before - after) for step, before, after in pairs)


def check_resumable(
  saved: Mapping[str, Any],
  now: Mapping[str, Any],
  workdir: Path,
  *,
  allow_changed: Sequence[str] = (),
) -> dict[str, list[Any]]:
  """Checks that a run resumes under its own config and on its own images.

  Args:
    saved: `config`, `train_images` and `origin` of the newest checkpoint; those of earlier releases
      have no origin.
    now: the same of this start.
    workdir: the run's folder.
    allow_changed: keys that may differ nevertheless.

  Returns:
    Of those of them that the results depend on and that do differ, the values there and here.

  Raises:
    InputError: others differ in what the results depend on.
  """
  differ = config_json.differences(saved["config"], now["config"])
  options, training = now["config"]["optimizer"], now["config"]["train"]
  if options["schedule"] == "drops" and not options["warmup"] and not training["frozen"]:
    differ.pop("train.epochs", None)
  matters = {key: pair for key, pair in differ.items() if not key.startswith(FREE_ON_RESUME)}
  changed = {key: list(pair) for key, pair in matters.items()}
  lines = [
    f"  {key}: {before} there, {after} here"
    for key, (before, after) in matters.items()
    if key not in allow_changed
  ]
  if lines:
    raise InputError(
      f"{workdir} holds a run with another config; use another --workdir, name what is meant to "
      "change from here on in --allow_changed=KEY,..., or revert these keys:\n" + "\n".join(lines)
    )

  if "origin" in saved:
    lines = provenance.changes(saved["origin"], now["origin"])
    if lines:
      raise InputError(
        f"{workdir} holds a run that cannot go on here: {'; '.join(lines)}. Use another --workdir, "
        "or the original data."
      )
    lines = provenance.other_rounding(saved["origin"], now["origin"])
    if lines and jax.process_index() == 0:
      print(
        f"Note: this run was begun elsewhere and rounds otherwise: {'; '.join(lines)}", flush=True
      )
    return changed

  # Of earlier releases the number is all that is known, and imported weights come with none.
  if saved["train_images"] not in (None, now["train_images"]):
    options = now["config"]["data"]
    names = [options["name"], *(name for name, _, _ in options["mix"])]
    raise InputError(
      f"{workdir} holds a run on {saved['train_images']} images and "
      f"{' with '.join(map(repr, names))} now has {now['train_images']}: use another --workdir, "
      "or the original data."
    )
  return changed
