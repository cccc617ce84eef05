"""From a config to the objects that compute: built and checked once, as a whole."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fal_jax import custom_markup, heads, landmarks, optimizer, siamese, steps
from fal_jax.augment import ViewRange
from fal_jax.corruption import Corruption
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.hourglass import FAN
from fal_jax.landmarks import Markup
from fal_jax.mobile_unet import MobileUNet
from fal_jax.network import Network
from fal_jax.robustness import boxes
from fal_jax.sampling import shares

Precision = Literal["auto", "float32", "bfloat16"]
NORMS = ("ic", "ip", "box", "diag")


@dataclasses.dataclass(frozen=True)
class Setup:
  """What a config describes, built once and checked as a whole.

  Attributes:
    config: all of it, for what is read in one place only: intervals, batch sizes, folders.
    markup: the landmarks.
    crop: from face boxes to the network's input.
    codec: landmarks to heatmaps and back, at the network's output size.
    network: on one device, for prediction; `recipe` has the one that trains.
    ranges: what the random views may do.
    eval_dataset: TFDS name of the dataset that `config.eval.splits` are of.
    norm: the normaliser of the plots and the log.
  """

  config: ConfigDict
  markup: Markup
  crop: CropRule
  codec: HeatmapCodec
  network: Network
  ranges: ViewRange
  eval_dataset: str
  norm: str

  def recipe(self, *, steps_per_epoch: float, steps_ahead: float = 0.0) -> steps.Recipe:
    """Everything constant that a training step needs.

    Args:
      steps_per_epoch: optimiser steps in one pass over the data, may be fractional.
      steps_ahead: see `optimizer.adam`.

    Returns:
      The recipe, whose network spans all devices.
    """
    config = self.config
    tx, schedule = optimizer.adam(
      **config.optimizer.to_dict(),
      steps_per_epoch=steps_per_epoch,
      steps_ahead=steps_ahead,
      epochs=config.train.epochs,
    )
    return steps.Recipe(
      model=network(config, axis_name=steps.DEVICES),
      codec=self.codec,
      tx=tx,
      schedule=schedule,
      flip=tuple(int(k) for k in self.markup.flip),
      crop=self.crop,
      ranges=self.ranges,
      num_views=config.siamese.num_views,
      reduce=config.siamese.reduce,
      seed=config.seed,
      target_scale=config.siamese.target_scale,
      view_loss=config.siamese.view_loss,
      window_loss=config.siamese.window_loss,
      frame=config.siamese.frame,
      head=config.head,
      corruption=corruption(config),
      accumulate=config.train.accumulate,
    )


def setup(config: ConfigDict, *, device_count: int = 1) -> Setup:
  """Builds everything that a config describes.

  Args:
    config: see `configs/default.py`.
    device_count: devices of all processes together, over which training batches are split.

  Returns:
    The one bundle that everything else is given.

  Raises:
    InputError: with every problem found, one per line.
  """
  problems: list[str] = []

  def attempt(build_part: Callable[[ConfigDict], Any]) -> Any:
    try:
      return build_part(config)
    except InputError as error:
      problems.append(str(error))
      return None

  parts = {
    "markup": attempt(markup),
    "crop": attempt(crop_rule),
    "network": attempt(network),
    "ranges": attempt(view_range),
  }
  attempt(corruption)
  attempt(lambda config: boxes.check(config.eval.boxes))
  attempt(lambda config: shares.check(config.data.mix))
  attempt(lambda config: siamese.check(**config.siamese))
  attempt(_check_optimizer)
  if parts["markup"]:
    attempt(lambda config: _check_norm(config.eval.norm, parts["markup"]))
  if parts["network"]:
    parts["codec"] = attempt(lambda config: codec(config, stride=parts["network"].stride))
    attempt(lambda config: _check_size(config.crop.size, parts["network"]))
  problems += _value_problems(config, device_count)
  if problems:
    raise InputError("\n".join(problems))

  return Setup(config, **parts, eval_dataset=eval_dataset(config), norm=config.eval.norm)


def markup(config: ConfigDict) -> Markup:
  """The mark-up that a config names by its number of landmarks, or describes itself."""
  description = config.data.own_markup
  if not description:
    return landmarks.markup(config.data.markup)

  try:
    custom = custom_markup.from_json(description)
  except InputError as error:
    raise InputError(
      f"config.data.own_markup is wrong: {error}; let configs/custom.py write it."
    ) from error
  if custom.num != config.data.markup:
    raise InputError(
      f"config.data.markup is {config.data.markup} but config.data.own_markup describes "
      f"{custom.num} landmarks: leave both to configs/custom.py."
    )
  return custom


def crop_rule(config: ConfigDict) -> CropRule:
  """The crop that a config describes."""
  return CropRule(
    size=config.crop.size,
    stored_size=config.crop.stored_size,
    face=config.crop.face,
    box=config.data.box,
  )


def codec(config: ConfigDict, *, stride: int | None = None) -> HeatmapCodec:
  """The codec that a config describes, at the network's output size.

  Args:
    config: all of it.
    stride: the network's, px; by default that of the network in the config.

  Returns:
    The codec.
  """
  stride = stride or network(config).stride
  options = config.codec.to_dict()
  return HeatmapCodec(
    size=config.crop.size // stride,
    stride=stride,
    encoding=options.pop("encode"),
    decoding=options.pop("decode"),
    **options,
  )


def network(config: ConfigDict, *, axis_name: str | None = None) -> Network:
  """The network that a config describes; a new one is a file and a `case` here.

  Args:
    config: all of it.
    axis_name: the device axis that it is trained over, or None.

  Returns:
    A Flax module, see `fal_jax.network`.

  Raises:
    InputError: there is no such network, or it cannot have these options.
  """
  match config.model.name:
    case "fan":
      plain: Network = _fan(config, axis_name)
    case "mobile_unet":
      plain = _mobile_unet(config, axis_name)
    case name:
      raise InputError(f"config.model.name is {name!r}; choose fan or mobile_unet.")
  return heads.with_head(plain, config.head)


def _fan(config: ConfigDict, axis_name: str | None) -> FAN:
  """FAN with its keys of `config.model`; those of other networks do not concern it."""
  model = config.model
  if model.pool not in ("avg", "max"):
    raise InputError(f"config.model.pool is {model.pool!r}; choose avg or max.")
  return FAN(num_stacks=model.num_stacks, pool=model.pool, **_common(config, axis_name))


def _mobile_unet(config: ConfigDict, axis_name: str | None) -> MobileUNet:
  """MobileUNet with its keys of `config.model`."""
  model = config.model
  if model.num_stacks != 1:
    raise InputError(
      f"config.model.num_stacks is {model.num_stacks}, and mobile_unet is a single one: set "
      "--config.model.num_stacks=1."
    )
  return MobileUNet(expansion=model.expansion, **_common(config, axis_name))


def _common(config: ConfigDict, axis_name: str | None) -> dict[str, Any]:
  """The fields that both networks have."""
  model = config.model
  # Both stems have half of the features; FAN splits that into quarters.
  if model.features < 8 or model.features % 8:
    raise InputError(f"config.model.features must be a multiple of 8, got {model.features}.")

  return {
    "num_landmarks": config.data.markup,
    "features": model.features,
    "depth": model.depth,
    "momentum": model.momentum,
    "axis_name": axis_name if model.sync_batch_norm else None,
    "dtype": jnp.bfloat16 if precision(config) == "bfloat16" else None,
    "remat": model.remat,
    "epsilon": model.epsilon,
  }


def view_range(config: ConfigDict) -> ViewRange:
  """What the random views of a config may do."""
  ranges = config.augment.to_dict()
  return ViewRange(**{**ranges, "scale": tuple(ranges["scale"]), "colour": tuple(ranges["colour"])})


def corruption(config: ConfigDict) -> Corruption:
  """What happens to the views of a config besides."""
  return Corruption(**config.corruption)


def eval_dataset(config: ConfigDict) -> str:
  """TFDS name of the dataset evaluated on: `config.eval.name`, or by default the one trained on."""
  return config.eval.name or config.data.name


def precision(config: ConfigDict) -> Precision:
  """The precision of the network's convolutions; "auto" is what these devices are built for."""
  choice = config.model.dtype
  if choice not in get_args(Precision):
    raise InputError(
      f"config.model.dtype is {choice!r}; choose one of {', '.join(get_args(Precision))}."
    )
  if choice != "auto":
    return choice
  return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def _check_optimizer(config: ConfigDict) -> None:
  options = config.optimizer
  optimizer.check(
    drop_epochs=options.drop_epochs,
    drop_factor=options.drop_factor,
    schedule=options.schedule,
    warmup=options.warmup,
  )


def _check_norm(norm: str, markup: Markup) -> None:
  if norm not in NORMS:
    raise InputError(f"config.eval.norm is {norm!r}; choose ic, ip, box or diag.")
  if (norm == "ic" and not markup.outer_eyes) or (norm == "ip" and not markup.pupils):
    part = "outer eye corners" if norm == "ic" else "pupils"
    raise InputError(
      f"config.eval.norm is {norm} but the mark-up of {markup.num} landmarks has no {part}: "
      "choose box or diag."
    )


def _check_size(size: int, network: Network) -> None:
  multiple = network.size_multiple
  if size < multiple or size % multiple:
    raise InputError(
      f"config.crop.size must be a multiple of {multiple}, which this network (config.model) "
      f"needs, got {size}."
    )


def _value_problems(config: ConfigDict, device_count: int) -> list[str]:
  """Sentences about single values that no part above checks, none if all are fine."""
  problems = []
  if not config.data.name:
    problems.append(
      "config.data.name is empty: name a prepared dataset, e.g. --config.data.name=wflw."
    )
  if config.data.cache not in ("none", "host", "device"):
    problems.append(f"config.data.cache is {config.data.cache!r}; choose none, host or device.")
  problems += _head_problems(config.head, config.codec.decode)
  if not 0 <= config.model.momentum < 1:
    problems.append(
      f"config.model.momentum must be at least 0 and below 1, got {config.model.momentum}."
    )
  if not config.eval.splits:
    problems.append(
      "config.eval.splits is empty: name at least one split, "
      "e.g. --config.eval.splits=\"('test',)\"."
    )
  if not 0 <= config.seed < 2**32:
    problems.append(f"config.seed must be from 0 to 4294967295, got {config.seed}.")

  for key in (
    "model.depth",
    "model.expansion",
    "model.num_stacks",
    "optimizer.learning_rate",
    "eval.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "log.every_steps",
  ):
    section, name = key.split(".")
    value = config[section][name]
    if not 0 < value < math.inf:
      problems.append(f"config.{key} must be positive and finite, got {value}.")
  if not 0 <= config.train.epochs < math.inf:
    problems.append(
      "config.train.epochs must be 0 (evaluates the untrained network) or more, "
      f"got {config.train.epochs}."
    )
  if not 0 <= config.train.frozen < 1:
    problems.append(
      f"config.train.frozen must be at least 0 and below 1, got {config.train.frozen}."
    )
  problems += _batch_problems(config, device_count)
  return problems


def _batch_problems(config: ConfigDict, device_count: int) -> list[str]:
  """Sentences about batches that cannot be split over devices, or into parts on each."""
  parts = config.train.accumulate
  if parts < 1:
    return [f"config.train.accumulate must be 1 or more, got {parts}."]

  problems = []
  size = config.train.batch_size
  if size < 1 or size % (device_count * parts):
    times = f" times config.train.accumulate ({parts})" if parts > 1 else ""
    problems.append(
      f"config.train.batch_size ({size}) must be a multiple of the number of devices "
      f"({device_count}){times}."
    )
  if config.eval.batch_size < 1:
    problems.append(f"config.eval.batch_size must be positive, got {config.eval.batch_size}.")
  if parts > 1 and config.model.sync_batch_norm:
    problems.append(
      f"config.train.accumulate={parts} and config.model.sync_batch_norm=True contradict each "
      "other: parts that follow one another never have the statistics of the whole batch. Set "
      "--config.model.sync_batch_norm=False: each part has its own, as each device of a pod has."
    )
  return problems


def _head_problems(head: str, decode: str) -> list[str]:
  if head not in get_args(heads.Head):
    return [f"config.head is {head!r}; choose one of {', '.join(get_args(heads.Head))}."]
  if head.startswith("correction") and decode != "argmax":
    return [f"config.head={head} corrects the highest cell: set --config.codec.decode=argmax."]
  if head.startswith("global_softargmax") and decode != "global_softargmax":
    return [f"config.head={head} is for that decoder: set --config.codec.decode=global_softargmax."]
  return []
