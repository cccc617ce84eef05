"""Where a number comes from: what it was measured on, how, and by which code."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

import fal_jax
from fal_jax import build
from fal_jax.build import Setup
from fal_jax.output import machine
from fal_jax.output.commit import git_commit
from fal_jax.prepared import fingerprint

if TYPE_CHECKING:
  from fal_jax.prepared.split import PreparedSplit  # and with it TFDS

# What the bits of a training step depend on.
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def provenance(config: ConfigDict, *, split: str, step: int | None) -> dict[str, Any]:
  """What a number needs to be compared with another: data, box, crop, decoder, step and code.

  Args:
    config: the config that it was measured under.
    split: the split evaluated on; empty where there is none.
    step: the training step that the weights are from; 0 where there are none, None where it is not
      known.

  Returns:
    A mapping ready for JSON.
  """
  return {
    "dataset": build.eval_dataset(config),
    "split": split,
    "box": config.data.box,
    "crop": config.crop.to_dict(),
    "codec": config.codec.to_dict(),
    "model": {**config.model.to_dict(), "dtype": build.precision(config)},
    "step": step,
    "seed": config.seed,
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }


def of_training(setup: Setup, sources: Sequence["PreparedSplit"]) -> dict[str, Any]:
  """Where weights come from, for their checkpoint, beside its config.

  Args:
    setup: what the run's config describes.
    sources: all splits that it trains on, whose fingerprints are among it.

  Returns:
    A mapping ready for JSON.
  """
  return {
    "datasets": [fingerprint.of_split(source) for source in sources],
    "markup": {"num": setup.markup.num, "flip": [int(k) for k in setup.markup.flip]},
    "codec": dataclasses.asdict(setup.codec),
    "versions": {
      "fal_jax": fal_jax.__version__,
      "python": platform.python_version(),
      **{name: metadata.version(name) for name in _PACKAGES},
    },
    "machine": machine.rounding(),
    "git_commit": git_commit(),
  }


def changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """What a run cannot go on with: the faces or the mark-up are others than those it began with.

  Args:
    saved: `of_training`, from the checkpoint.
    now: the same of this start, under the same config.

  Returns:
    A line for each; none if the run may go on.
  """
  lines = []
  for there, here in zip(saved["datasets"], now["datasets"], strict=True):
    if what := fingerprint.difference(there, here):
      lines.append(f"the dataset {here['dataset']!r}, split {here['split']!r}, {what}")
  if saved["markup"] != now["markup"]:
    lines.append(f"the mark-up of {now['markup']['num']} landmarks was another")
  return lines


def other_rounding(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Where software or machine differ from what a run was begun with, see `changes`.

  Such a run goes on, but does not end in the bits of one that was never stopped.

  Returns:
    "jax 0.10.2 there, 0.11.0 here" for each difference.
  """
  there = {**saved["versions"], **saved.get("machine", {})}  # earlier releases did not ask
  here = {**now["versions"], **now["machine"]}
  return [
    f"{name} {there[name]} there, {here[name]} here"
    for name in sorted({*there} & {*here})
    if there[name] != here[name]
  ]
