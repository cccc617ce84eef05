"""Interleaved rounds under a clock of our own, and the statistics of the samples they yield."""

import numpy as np
import pytest

from fal_jax.bench import timing


class Machine:
  """Work that takes known time, on a machine that may slow down."""

  def __init__(self, **seconds):
    self.now = 0.0
    self.done = []
    self.slowness = 1.0
    self.tasks = {name: self._task(name, cost) for name, cost in seconds.items()}

  def _task(self, name, cost):
    def task(repeats):
      self.done.append((name, repeats))
      self.now += repeats * cost * self.slowness

    return task

  def clock(self):
    return self.now


def test_each_task_has_a_turn_in_each_round_and_the_order_alternates():
  machine = Machine(a=1.0, b=2.0)

  samples = timing.interleaved(machine.tasks, rounds=3, clock=machine.clock)

  assert samples == {"a": [1.0] * 3, "b": [2.0] * 3}
  assert [name for name, _ in machine.done[4:]] == ["a", "b", "b", "a", "a", "b"]


def test_a_quick_task_is_repeated_until_the_clock_can_measure_it():
  machine = Machine(short=0.003, long=5.0, nothing=0.0)

  samples = timing.interleaved(
    machine.tasks, rounds=1, min_seconds=0.02, max_repeats=50, clock=machine.clock
  )

  assert dict(machine.done[6:]) == {"short": 7, "long": 1, "nothing": 50}
  assert samples["short"] == pytest.approx([0.003])


def test_what_comes_before_a_turn_is_not_measured():
  machine = Machine(a=1.0, preparation=20.0)
  prepare = machine.tasks.pop("preparation")

  samples = timing.interleaved(
    machine.tasks, rounds=2, clock=machine.clock, before={"a": lambda: prepare(1)}
  )

  assert samples == {"a": [1.0, 1.0]}
  assert machine.done[-2:] == [("preparation", 1), ("a", 1)]


def test_without_a_minimum_time_nothing_is_repeated_or_run_in_vain():
  machine = Machine(a=0.001)

  samples = timing.interleaved(machine.tasks, rounds=2, min_seconds=0, clock=machine.clock)

  assert samples["a"] == pytest.approx([0.001] * 2)
  assert machine.done == [("a", 1)] * 3


def test_the_first_call_which_compiles_is_not_measured():
  machine = Machine(a=1.0)
  compilations = iter([30.0])

  def task(repeats):
    machine.now += next(compilations, 0.0)
    machine.tasks["a"](repeats)

  lines = []
  samples = timing.interleaved({"a": task}, rounds=2, clock=machine.clock, echo=lines.append)

  assert samples == {"a": [1.0, 1.0]}
  assert lines == ["a: ready after 31.0 s", "round 1 of 2", "round 2 of 2"]


def test_a_slow_spell_of_the_machine_cancels_in_ratios():
  machine = Machine(ours=1.0, theirs=3.0)
  slowness = iter([1, 1, 1, 1, 1, 1, 4, 4, 1.5, 1.5])  # four unmeasured calls, then three rounds

  def on_slow_machine(name):
    def task(repeats):
      machine.slowness = next(slowness)
      machine.tasks[name](repeats)

    return task

  tasks = {name: on_slow_machine(name) for name in machine.tasks}
  samples = timing.interleaved(tasks, rounds=3, clock=machine.clock)

  assert samples["ours"] == [1.0, 4.0, 1.5]
  assert timing.ratios(samples["theirs"], samples["ours"]) == [3.0] * 3


@pytest.mark.parametrize("count", [1, 2, 3, 8, 25])
def test_a_spread_is_what_numpy_says(count):
  samples = np.random.default_rng(count).uniform(1, 9, count).tolist()
  names = ("min", "q1", "median", "q3", "max")
  expected = dict(zip(names, np.percentile(samples, [0, 25, 50, 75, 100]), strict=True))

  assert timing.spread(samples) == pytest.approx(expected)


def test_nothing_has_no_spread_and_rounds_must_match():
  with pytest.raises(ValueError, match="needs samples"):
    timing.spread([])
  with pytest.raises(ValueError, match="shorter"):
    timing.ratios([1.0, 2.0], [1.0])
