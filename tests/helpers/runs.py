"""Reading what a run left behind, and interfering with its steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fal_jax.output import metric_log


def records(workdir: Path, name: str = "loss") -> dict[int, float]:
  """step -> value, of the records of metrics.jsonl that have it; each step once."""
  pairs = [(record["step"], record[name]) for record in metric_log.read(workdir) if name in record]
  values = dict(pairs)
  assert len(values) == len(pairs)
  return values


def saved_steps(workdir: Path) -> list[int]:
  """Steps of the checkpoints on disk, in order."""
  return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


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
