"""What devices send each other in a training step, read from the compiled program, and its price.

Nothing is timed here: counts and sizes are those of the program that XLA has compiled for two
devices of a CPU, after it has merged what depends on nothing else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fal_jax import config_json
from fal_jax.bench import flops
from fal_jax.bench.worker import Worker, fake_devices

_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%(\S+) = (\([^=]*?\)|\S+) ([\w-]+)\((.*)")
_SHAPE = re.compile(r"[a-z]+(\d+)\[([\d,]*)\]")
_LAYER = re.compile(r"jvp\(\w+\)\)?/(?:\w+\.\w+/)?(.*?)/psum")

# What a step makes of a chip's peak: 706 pairs/s of 167.1 GFLOP were measured on one H100, 16 pairs
# at a time in bfloat16 (README.md).
OF_PEAK = 0.12
PAIRS = 16  # per chip


class Machine(NamedTuple):
  """Chips that train together; assumed, not measured.

  Attributes:
    name: for the table.
    chips: how many.
    peak: FLOP/s of one in bfloat16.
    bandwidth: bytes/s over which a ring of all of them passes on.
    latency: s per message.
  """

  name: str
  chips: int
  peak: float
  bandwidth: float
  latency: float


MACHINES = (
  Machine("8 x H100", 8, 989e12, 360e9, 15e-6),
  Machine("v5e-16", 16, 197e12, 100e9, 15e-6),
)


class Message(NamedTuple):
  """One all-reduce.

  Attributes:
    size: bytes of one device's part.
    layer: path of the BatchNorm whose statistics it holds, of the first one where XLA has put
      several into one message; empty for gradient, loss and counts.
    backward: whether it is sent in the backward pass.
  """

  size: int
  layer: str
  backward: bool


def measure(
  config: ConfigDict, *, environment: Mapping[str, str], echo: Callable[[str], None]
) -> dict[str, Any]:
  """Compiles the step for two devices and reads its messages.

  Args:
    config: the run's config.
    environment: variables to set for the process.
    echo: progress callback.

  Returns:
    `messages`, each as a mapping; `in_a_row`, the most of them of which each needs the one before;
    and `estimates` for `MACHINES`.
  """
  job = {"config": config_json.to_json(config), "pairs": 2, "process": None}
  with Worker(job, {**environment, **fake_devices(2)}) as worker:
    echo(f"a step of two devices: first step after {worker.answer()['step']:.1f} s")
    worker.ask("program")
    found, in_a_row = read(worker.answer()["program"])

  pair_flops = flops.train_step(config)
  return {
    "messages": [message._asdict() for message in found],
    "in_a_row": in_a_row,
    "estimates": [estimate(machine, found, pair_flops=pair_flops) for machine in MACHINES],
  }


def read(program: str) -> tuple[list[Message], int]:
  """The messages of a compiled program.

  Args:
    program: its text, in XLA's notation.

  Returns:
    All of them in the order of the program; and how many there are at least one after the other,
    since each needs the result of the one before.
  """
  messages: list[Message] = []
  depth: dict[str, int] = {}
  entry = program[program.index("\nENTRY ") :]
  for line in entry.splitlines()[2:]:
    if not (match := _INSTRUCTION.match(line)):
      continue
    name, shape, operation, rest = match.groups()
    arguments = re.findall(r"%([\w.-]+)", rest.partition("), ")[0])
    depth[name] = max((depth.get(argument, 0) for argument in arguments), default=0)
    if operation in ("all-reduce", "all-reduce-start"):
      depth[name] += 1
      path = _LAYER.search(rest)
      backward = "transpose(" in rest
      layer = path[1].replace("(", "") if path else ""
      messages.append(Message(_bytes(shape), layer, backward))
  return messages, max(depth.values(), default=0)


def estimate(machine: Machine, messages: Sequence[Message], *, pair_flops: int) -> dict[str, Any]:
  """What a step would take where compute and messages follow one another.

  Args:
    machine: the chips.
    messages: of a step.
    pair_flops: FLOPs of one pair in a step.

  Returns:
    `name`; seconds of `compute`, of the `gradient` and of the `statistics` of BatchNorm; pairs per
    second and the efficiency against as many single chips, with these statistics (`synced`) and
    without (`local`).
  """
  compute = PAIRS * pair_flops / (OF_PEAK * machine.peak)
  around = 2 * (machine.chips - 1) / machine.chips / machine.bandwidth

  def seconds(chosen: Sequence[Message]) -> float:
    return sum(machine.latency + around * message.size for message in chosen)

  gradient = seconds([message for message in messages if not message.layer])
  statistics = seconds([message for message in messages if message.layer])
  pairs = PAIRS * machine.chips
  return {
    "name": machine.name,
    "compute": compute,
    "gradient": gradient,
    "statistics": statistics,
    "synced": {
      "pairs_per_second": pairs / (compute + gradient + statistics),
      "efficiency": compute / (compute + gradient + statistics),
    },
    "local": {
      "pairs_per_second": pairs / (compute + gradient),
      "efficiency": compute / (compute + gradient),
    },
  }


def _bytes(shape: str) -> int:
  """Bytes of an array or a tuple of arrays: `f32[2,64]{1,0}`."""
  total = 0
  for bits, sizes in _SHAPE.findall(shape):
    count = 1
    for size in filter(None, sizes.split(",")):
      count *= int(size)
    total += count * int(bits) // 8
  return total
