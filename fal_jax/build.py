"""From a config to the objects that compute: checked once, all problems in one message."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fal_jax import custom_markup, landmarks, steps
from fal_jax.augment import ViewRange
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.heads import CorrectedFAN, Head
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.landmarks import Markup
from fal_jax.optimizer import adam_with_drops
from fal_jax.siamese import check_reduce

Precision = Literal["auto", "float32", "bfloat16"]

STRIDE = 4  # crop px per heatmap px: the stem's convolution and its pooling


def markup(config: ConfigDict) -> Markup:
  """The mark-up that a config names by its number of landmarks, or describes in `data.own_markup`."""
  description = config.data.get("own_markup")  # configs saved by earlier releases lack the key
  if not description:
    return landmarks.markup(config.data.markup)
  try:
    own = custom_markup.from_json(description)
  except InputError as error:
    raise InputError(
      f"config.data.own_markup is wrong: {error}; let configs/custom.py write it."
    ) from error
  if own.num != config.data.markup:
    raise InputError(
      f"config.data.markup is {config.data.markup} but config.data.own_markup describes {own.num} landmarks: leave both to "
      "configs/custom.py."
    )
  return own


def crop_rule(config: ConfigDict) -> CropRule:
  """The crop that a config describes."""
  return CropRule(
    size=config.crop.size,
    stored_size=config.crop.stored_size,
    face=config.crop.face,
    box=config.data.box,
  )


def codec(config: ConfigDict) -> HeatmapCodec:
  """The codec that a config describes, at the network's output size."""
  options = config.codec.to_dict()
  return HeatmapCodec(
    size=config.crop.size // STRIDE,
    stride=STRIDE,
    encoding=options.pop("encode"),
    decoding=options.pop("decode"),
    **options,
  )


def model(config: ConfigDict, *, axis_name: str | None) -> FAN | CorrectedFAN:
  """The network that a config describes, on several devices along `axis_name` if it is given."""
  options = config.model.to_dict()
  options["dtype"] = jnp.bfloat16 if precision(config) == "bfloat16" else None
  if not options.pop("sync_batch_norm", True):  # runs older than the option have none
    axis_name = None
  fan = FAN(num_landmarks=config.data.markup, axis_name=axis_name, **options)
  return CorrectedFAN(fan) if config.head.startswith("correction") else fan


def eval_dataset(config: Mapping[str, Any] | ConfigDict) -> str:
  """TFDS name of the dataset that `config.eval.splits` are of: `config.eval.name`, or by default
  the one trained on.

  Args:
    config: all of it; one that a run saved before there was this key will do.
  """
  return config["eval"].get("name") or config["data"]["name"]


def precision(config: ConfigDict) -> Precision:
  """The precision of the network's convolutions; "auto" is what the present devices are built for."""
  asked = config.model.get("dtype", "float32")  # runs older than the option have none
  if asked != "auto":
    return asked
  return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def train_recipe(config: ConfigDict, *, steps_per_epoch: float) -> steps.Recipe:
  """Everything constant that a training step needs."""
  tx, schedule = adam_with_drops(**config.optimizer.to_dict(), steps_per_epoch=steps_per_epoch)
  ranges = config.augment.to_dict()
  return steps.Recipe(
    model=model(config, axis_name=steps.DEVICES),
    codec=codec(config),
    tx=tx,
    schedule=schedule,
    flip=tuple(int(k) for k in markup(config).flip),
    crop_size=config.crop.size,
    stored_size=config.crop.stored_size,
    ranges=ViewRange(
      **{**ranges, "scale": tuple(ranges["scale"]), "colour": tuple(ranges["colour"])}
    ),
    num_views=config.siamese.num_views,
    reduce=config.siamese.reduce,
    seed=config.seed,
    target_scale=config.siamese.target_scale,
    view_loss=config.siamese.view_loss,
    head=config.head,
  )


def validate(config: ConfigDict, *, device_count: int) -> None:
  """Checks a config before anything is built from it.

  Args:
    config: all of it.
    device_count: devices of all processes together.

  Raises:
    InputError: with every problem found, one per line.
  """
  problems = []
  for build in (crop_rule, codec, _check_norm, lambda config: check_reduce(config.siamese.reduce)):
    try:
      build(config)
    except InputError as error:
      problems.append(str(error))
  if not config.data.name:
    problems.append(
      "config.data.name is empty: name a prepared dataset, e.g. --config.data.name=wflw."
    )
  if config.data.cache not in ("none", "host", "device"):
    problems.append(f"config.data.cache is {config.data.cache!r}; choose none, host or device.")
  if config.model.pool not in ("avg", "max"):
    problems.append(f"config.model.pool is {config.model.pool!r}; choose avg or max.")
  if config.model.dtype not in get_args(Precision):
    problems.append(
      f"config.model.dtype is {config.model.dtype!r}; choose one of {', '.join(get_args(Precision))}."
    )
  if config.head not in get_args(Head):
    problems.append(f"config.head is {config.head!r}; choose one of {', '.join(get_args(Head))}.")
  elif config.head.startswith("correction") and config.codec.decode != "argmax":
    problems.append(
      f"config.head={config.head} corrects the highest cell: set --config.codec.decode=argmax."
    )
  elif config.head == "global_softargmax" and config.codec.decode != "global_softargmax":
    problems.append(
      "config.head=global_softargmax is for that decoder: set --config.codec.decode=global_softargmax."
    )
  if not 0 <= config.siamese.view_loss < math.inf:
    problems.append(f"config.siamese.view_loss must be 0 or more, got {config.siamese.view_loss}.")
  step = STRIDE * 2**config.model.depth
  if config.crop.size < step or config.crop.size % step:
    problems.append(
      f"config.crop.size must be a multiple of {step} (4 * 2**model.depth), got {config.crop.size}."
    )
  if not 0 <= config.model.momentum < 1:
    problems.append(
      f"config.model.momentum must be at least 0 and below 1, got {config.model.momentum}."
    )
  if not config.eval.splits:
    problems.append(
      "config.eval.splits is empty: name at least one split, e.g. --config.eval.splits=\"('test',)\"."
    )
  if not 0 <= config.seed < 2**32:
    problems.append(f"config.seed must be from 0 to 4294967295, got {config.seed}.")
  if (
    config.model.features < 8 or config.model.features % 8
  ):  # the stem has half of them and splits that into quarters
    problems.append(f"config.model.features must be a multiple of 8, got {config.model.features}.")
  for name in ("scale", "colour"):
    factors = tuple(config.augment[name])
    if len(factors) != 2 or not 0 < factors[0] <= factors[1]:
      problems.append(
        f"config.augment.{name} must be two factors, 0 < smallest <= largest, got {factors}."
      )
  if not 0 <= config.augment.mirror <= 1:
    problems.append(f"config.augment.mirror is a probability, got {config.augment.mirror}.")
  positive = {
    "model.depth": config.model.depth,
    "model.num_stacks": config.model.num_stacks,
    "siamese.num_views": config.siamese.num_views,
    "siamese.target_scale": config.siamese.target_scale,
    "optimizer.learning_rate": config.optimizer.learning_rate,
    "optimizer.drop_factor": config.optimizer.drop_factor,
    "eval.every_epochs": config.eval.every_epochs,
    "checkpoint.every_steps": config.checkpoint.every_steps,
    "checkpoint.keep": config.checkpoint.keep,
    "log.every_steps": config.log.every_steps,
  }
  problems += [
    f"config.{name} must be positive and finite, got {v}."
    for name, v in positive.items()
    if not 0 < v < math.inf
  ]
  if not 0 <= config.train.epochs < math.inf:
    problems.append(
      f"config.train.epochs must be 0 (evaluates the untrained network) or more, got {config.train.epochs}."
    )
  for name, size in (("train", config.train.batch_size), ("eval", config.eval.batch_size)):
    if size < 1 or size % device_count:
      problems.append(
        f"config.{name}.batch_size ({size}) must be a multiple of the number of devices ({device_count})."
      )
  if problems:
    raise InputError("\n".join(problems))


def _check_norm(config: ConfigDict) -> None:
  """Whether there is such a normaliser, and the mark-up has what it takes."""
  found, norm = markup(config), config.eval.norm
  if norm not in ("ic", "ip", "box", "diag"):
    raise InputError(f"config.eval.norm is {norm!r}; choose ic, ip, box or diag.")
  if (norm == "ic" and not found.outer_eyes) or (norm == "ip" and not found.pupils):
    part = "outer eye corners" if norm == "ic" else "pupils"
    raise InputError(
      f"config.eval.norm is {norm} but the mark-up of {found.num} landmarks has no {part}: choose box or diag."
    )
