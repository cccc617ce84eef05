"""From seconds to rates: how fast a task is, by itself and compared with others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fal_jax.bench import timing

Samples = Mapping[str, Sequence[float]]  # seconds of every task, by round


@dataclasses.dataclass(frozen=True)
class Count:
  """What one repeat of a task does.

  Attributes:
    items: number of `unit`.
    unit: "images", "faces", "pairs", "heatmaps" or "products".
    flops: counted by hand.
    bytes: the minimum that passes through memory; None where it is unknown.
    devices: how many share the work.
    in_step: how many times one device does this work in a training step; None if it is not part of
      one.
  """

  items: int
  unit: str
  flops: float
  bytes: float | None = None
  devices: int = 1
  in_step: float | None = None


def describe(
  samples: Samples, name: str, counts: Mapping[str, Count], *, matmul: str
) -> dict[str, Any]:
  """Time and rate of a task, and both as fractions of what they are compared with.

  Args:
    samples: seconds of all tasks, by round.
    name: name of the task.
    counts: what each does.
    matmul: name of the matrix product, on one device, that it is compared with.

  Returns:
    An entry of the report's `parts`: `of_matmul` is the fraction of the product's FLOP/s,
    `share_of_step` that of the training step's time.
  """
  count = counts[name]
  seconds = timing.spread(samples[name])
  part: dict[str, Any] = {
    "seconds": seconds,
    "samples": list(samples[name]),
    "items": count.items,
    "unit": count.unit,
    "per_second": count.items / seconds["median"],
    "flops": count.flops,
    "flops_per_second": count.flops / seconds["median"],
  }
  if count.bytes is not None:
    part |= {"bytes": count.bytes, "bytes_per_second": count.bytes / seconds["median"]}

  work_ratio = count.flops / (counts[matmul].flops * count.devices)
  speed_ratios = timing.ratios(samples[matmul], samples[name])
  part["of_matmul"] = timing.spread([work_ratio * ratio for ratio in speed_ratios])

  if "step" in samples and count.in_step is not None:
    shares = timing.ratios(samples[name], samples["step"])
    part["share_of_step"] = timing.spread([count.in_step * share for share in shares])
  return part


def compare(
  title: str, samples: Samples, counts: Mapping[str, Count], prefix: str
) -> dict[str, Any]:
  """PyTorch's tasks, and their time per item as a multiple of ours.

  Args:
    title: title of the table.
    samples: seconds of all tasks, by round.
    counts: what each of ours does; one of PyTorch's does the same, unless it has an entry of its
      own.
    prefix: what the names of PyTorch's tasks begin with; the name of ours follows, and possibly,
      after a comma, a remark.

  Returns:
    `title`, and `parts` by name without the prefix.
  """
  parts = {}
  for name in (name for name in samples if name.startswith(prefix)):
    label = name.removeprefix(prefix)
    ours = label.split(",")[0]
    count = counts.get(name, counts[ours])
    seconds = timing.spread(samples[name])

    items_ratio = counts[ours].items / count.items
    time_ratios = timing.ratios(samples[name], samples[ours])
    parts[label] = {
      "seconds": seconds,
      "samples": list(samples[name]),
      "per_second": count.items / seconds["median"],
      "unit": count.unit,
      "ratio": timing.spread([items_ratio * ratio for ratio in time_ratios]),
    }
  return {"title": title, "parts": parts}
