"""Kills a small training at random moments, and compares it with one that nobody touched.

  ./launch/soak.sh [--kills=30] [--seed=0] [--processes=1] [--workdir=DIR]

Every step is logged, every second one saved, and two of three are followed by an evaluation, so
that kills hit all of them. Two of three are `kill -9`, the others SIGTERM. Exit code 0: state, log,
evaluation and predictions of both are equal; 1: something differs, and is named.
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import process_groups
import tensorflow_datasets as tfds
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax.output import metric_log

STEPS_PER_KILL = (
  5  # on average; the run is twice as long, so that it never ends before the last kill
)


def soak(
  data_dir: Path,
  workdir: Path,
  *,
  kills: int,
  seed: int,
  processes: int = 1,
  echo: Callable[[str], Any] = print,
) -> list[str]:
  """Trains once without and once with kills.

  Args:
    data_dir: where the tiny dataset is.
    workdir: an empty folder, for both runs.
    kills: how often the second is ended.
    seed: of the moments.
    processes: as how many each run trains; one of them is ended, and must take the others along.
    echo: called with a line about each kill.

  Returns:
    What differs between the two, one line each.
  """
  config = soaked(data_dir, steps=2 * STEPS_PER_KILL * kills + 6)
  whole, killed = workdir / "whole", workdir / "killed"
  problems = run_to_the_end(config, whole, processes=processes)
  problems += kill(config, killed, kills=kills, seed=seed, processes=processes, echo=echo)
  return problems + run_to_the_end(config, killed, processes=processes) + differences(whole, killed)


def soaked(data_dir: Path, *, steps: int) -> ConfigDict:
  """The config of a run of so many steps, which logs, saves and evaluates all the time."""
  return tiny_dataset.config(
    data_dir,
    train__epochs=steps / 1.5,
    eval__every_epochs=1.0,
    checkpoint__every_steps=2,
    checkpoint__keep=2,
  )


def kill(
  config: ConfigDict,
  workdir: Path,
  *,
  kills: int,
  seed: int,
  processes: int = 1,
  signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM),
  most_steps: int = 2 * STEPS_PER_KILL - 3,
  echo: Callable[[str], Any] = print,
) -> list[str]:
  """Starts a run again and again, and ends one of its processes at random moments.

  Args:
    config: of the run.
    workdir: of the run.
    kills: how often.
    seed: of the moments.
    processes: as how many it trains.
    signals: of which each time one is sent.
    most_steps: before it is.
    echo: called with a line about each kill.

  Returns:
    What should not have been, one line each.
  """
  chance = random.Random(seed)
  problems = []
  for number in range(1, kills + 1):
    sent = chance.choice(signals)
    steps = chance.randint(0, most_steps)
    delay = chance.uniform(0, 0.3) if steps else chance.uniform(0, 8)
    victim = chance.randrange(processes) if processes > 1 else 0
    end = run_until(
      config, workdir, steps=steps, delay=delay, sent=sent, processes=processes, victim=victim
    )
    echo(f"{number}/{kills}: {sent.name} {delay:.2f} s after {steps} steps: {end.summary()}")
    problems += [f"kill {number}: {problem}" for problem in end.problems()]
  return problems


def differences(whole: Path, other: Path) -> list[str]:
  """What two finished runs do not have in common, one line each."""
  found = []
  if tiny_dataset.last_digest(whole) != tiny_dataset.last_digest(other):
    found.append("the last states differ")
  for name in ("eval/test.json", "eval/test_predictions.csv"):
    if (whole / name).read_bytes() != (other / name).read_bytes():
      found.append(f"{name} differs")

  expected, got = (
    [json.dumps({**record, "images_per_second": None}) for record in metric_log.read(folder)]
    for folder in (whole, other)
  )
  if expected != got:
    missing, doubled = set(expected) - set(got), {line for line in got if got.count(line) > 1}
    found.append(f"the logs differ; missing: {sorted(missing)}, doubled: {sorted(doubled)}")
  return found


def run_to_the_end(config: ConfigDict, workdir: Path, *, processes: int = 1) -> list[str]:
  """Runs without a kill; a line if that does not end well."""
  with process_groups.started(config, workdir, count=processes) as run:
    codes = run.codes()
    ends_well = not any(codes)
    return [] if ends_well else [f"{workdir.name} ended with {codes}:\n{run.text(0)}"]


class End(NamedTuple):
  """How a run ended that was told to.

  Attributes:
    sent: the signal.
    victim: number of the process that got it.
    steps: how many it was to print before.
    codes: exit codes of all processes.
    texts: what they said.
    seconds: from the signal to the end of the last.
  """

  sent: signal.Signals
  victim: int
  steps: int
  codes: list[int]
  texts: list[str]
  seconds: float

  def summary(self) -> str:
    """The exit codes and the last words, for a line."""
    lines = self.texts[0].splitlines()
    codes = ", ".join(map(str, self.codes))
    return f"{codes} in {self.seconds:.1f} s; {lines[-1][:80] if lines else 'no word'}"

  def problems(self) -> list[str]:
    """What should not have been, one line each."""
    found = []
    for index, (code, text) in enumerate(zip(self.codes, self.texts, strict=True)):
      others = index != self.victim
      # A program that has not begun has nothing to catch SIGTERM with, and no others.
      if code == 0:
        found.append(f"{self.sent.name} to {self.victim} was not heard: {index} ended by itself")
      elif self.steps and (others or self.sent == signal.SIGTERM) and code != 75:
        found.append(f"{self.sent.name} to {self.victim} ended {index} with {code}:\n{text}")
      if "Traceback" in text:
        found.append(f"a traceback:\n{text}")
    return found


def run_until(
  config: ConfigDict,
  workdir: Path,
  *,
  steps: int,
  delay: float,
  sent: signal.Signals,
  processes: int = 1,
  victim: int = 0,
) -> End:
  """Runs until so many steps are printed and so many seconds are over, and ends one process."""
  flags = ["--start_timeout=60"] if processes > 1 else []
  with process_groups.started(config, workdir, count=processes, flags=flags) as run:
    until = time.monotonic() + process_groups.PATIENCE
    while len(re.findall(r"^step +\d+/", run.text(0), re.MULTILINE)) < steps:
      if run.processes[0].poll() is not None or time.monotonic() > until:
        break
      time.sleep(0.01)
    time.sleep(delay)
    begun = time.monotonic()
    # A launcher signals what it has started; memory that is used up kills what trains.
    if run.processes[victim].poll() is None:
      started = run.processes[victim].pid
      os.kill(started if sent == signal.SIGTERM else run.trains(victim), sent)
    codes = run.codes(process_groups.END_WITHIN)
    seconds = time.monotonic() - begun
    texts = [run.text(index) for index in range(processes)]
    return End(sent, victim, steps, codes, texts, seconds)


def main() -> int:
  """The command line; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--kills", type=int, default=30, help="how often it is ended")
  parser.add_argument("--seed", type=int, default=0, help="of the moments")
  parser.add_argument("--processes", type=int, default=1, help="as how many it trains")
  parser.add_argument("--workdir", type=Path, help="an empty folder; default: a temporary one")
  args = parser.parse_args()

  with tempfile.TemporaryDirectory() as temporary:
    workdir = args.workdir or Path(temporary)
    (workdir / "data").mkdir(parents=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(workdir / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    tfds.disable_progress_bar()
    data_dir = tiny_dataset.prepare(workdir / "data")
    options = {"kills": args.kills, "seed": args.seed, "processes": args.processes}
    found = soak(data_dir, workdir, **options)
  print("\n".join(found) or f"{args.kills} kills, no difference")
  return 1 if found else 0


if __name__ == "__main__":
  sys.exit(main())
