"""Tries damaged files on every parser: ./launch/fuzz.sh --seconds=600, see README.md beside this.

A run continues where the last one of the same seed stopped, parser by parser.
"""

import argparse
import dataclasses
import importlib.util
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import fuzz_cases
import memory_limit
from fuzz_parsers import Parser, find

from fal_jax.parsing import isolated

_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # this one, and the one that reads
_MAX_BYTES = 2**30  # of memory for all cases, beyond what the libraries take


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line and returns the exit code: 1 if a parser failed."""
  args = _parse(argv)
  parsers = [parser for parser in find(args.parser) if not _is_missing(parser)]
  memory = Path(args.out) / f"seed-{args.seed}.json"
  tallies = _load(memory) if not args.restart else {}

  with memory_limit.limited(_MAX_BYTES):  # a MemoryError is not one of our exceptions
    start = time.monotonic()
    for number, parser in enumerate(parsers):
      # Each gets the same part of what is left.
      left = args.seconds - (time.monotonic() - start)
      deadline = time.monotonic() + left / (len(parsers) - number)
      tally = tallies.setdefault(parser.name, fuzz_cases.Tally())
      if time.monotonic() < deadline and tally.cases < args.cases:
        run(
          parser,
          tally,
          seed=args.seed,
          until=args.cases,
          go_on=lambda deadline=deadline: time.monotonic() < deadline,
          out=Path(args.out),
        )
        memory.parent.mkdir(parents=True, exist_ok=True)
        content = {name: dataclasses.asdict(each) for name, each in tallies.items()}
        memory.write_text(json.dumps(content, indent=1))
      print(_row(parser.name, tally), flush=True)
      for failure in tally.failures[:5]:
        print(f"    {failure}")

  return 1 if any(tallies[parser.name].failures for parser in parsers) else 0


def run(
  parser: Parser,
  tally: fuzz_cases.Tally,
  *,
  seed: int,
  until: int,
  go_on: Callable[[], bool] = lambda: True,
  out: Path | None = None,
) -> None:
  """Tries cases of one parser, from the first that `tally` does not count.

  The memory counted is that of all cases of a process, libraries included: the parser's own where
  no other has been tried before.

  Args:
    parser: which.
    tally: is added to.
    seed: of all cases.
    until: how many cases there are to be.
    go_on: is asked before each case.
    out: where files that make it fail are kept.
  """
  before = _seconds_of_children()
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    seeds = parser.seeds(folder)
    path = folder / parser.file
    while tally.cases < until and go_on():
      number = tally.cases
      content = fuzz_cases.case(parser, seeds, seed=seed, number=number)
      failures = len(tally.failures)
      fuzz_cases.run(parser, content, path, tally)
      if out is not None and len(tally.failures) > failures:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{parser.name}-{seed}-{number}").write_bytes(content)
  isolated.stop()  # only then is its time known
  tally.seconds += _seconds_of_children() - before
  tally.megabytes = max(tally.megabytes, *map(_megabytes, _PROCESSES))


def _is_missing(parser: Parser) -> bool:
  """Whether a parser's package is not installed, which is said."""
  if parser.package and importlib.util.find_spec(parser.package) is None:
    print(f"{parser.name} is left out: {parser.package} is not installed.")
    return True
  return False


def _seconds_of_children() -> float:
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def _megabytes(whose: int) -> float:
  """The most memory that a process has had, in MB."""
  return resource.getrusage(whose).ru_maxrss / 1024


def _row(name: str, tally: fuzz_cases.Tally) -> str:
  """A line of the table in README.md."""
  per_thousand = 1000 * tally.seconds / max(tally.cases, 1)
  return (
    f"| {name} | {tally.cases:,} | {tally.read:,} | {tally.refused:,} | {tally.crashes:,} | "
    f"{len(tally.failures):,} | {per_thousand:.1f} | {tally.slowest:.2f} | {tally.megabytes:.0f} |"
  )


def _load(memory: Path) -> dict[str, fuzz_cases.Tally]:
  """What earlier runs of the same seed have counted."""
  if not memory.is_file():
    return {}
  content = json.loads(memory.read_text())
  return {name: fuzz_cases.Tally(**values) for name, values in content.items()}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(prog="./launch/fuzz.sh", description=__doc__)
  parser.add_argument("--seconds", type=float, default=60, help="for all parsers together")
  parser.add_argument("--cases", type=int, default=100_000, help="of each parser, at most")
  parser.add_argument(
    "--parser", action="append", default=[], help="only this one; may be repeated"
  )
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--restart", action="store_true", help="forget what earlier runs have done")
  parser.add_argument("--out", default=".cache/fuzz", help="for counts, and files that fail")
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
