"""python -m launch.peers.times --data_dir=data --workdir=runs/peers

How long each system takes for a face, on one core. All run at the same time but compute by turns,
round after round, so that a spell in which the machine is slow affects all alike. Every process is
held on the same core; what counts is its CPU time, which waiting for others does not lengthen.
Results go to times.json beside this file.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from fal_jax import flag_parser
from fal_jax.output import machine
from fal_jax.output.commit import git_commit
from launch.peers import faces, tuning
from launch.peers.measure import DETECTED, GIVEN
from launch.peers.systems import SYSTEMS, Client, Refused, parser

TIMES = Path(__file__).parent / "times.json"
WARM = 20  # questions before the first round: JAX compiles, and so does JavaScript's engine


def main() -> None:
  """Measures what the flags name."""
  args = _parse()
  val = faces.write(args.workdir / "faces", "val", data_dir=args.data_dir).every(
    max(1, 202 // args.faces)
  )
  load = [os.getloadavg()[0]]

  samples: dict[str, list[dict[str, float]]] = {}
  with contextlib.ExitStack() as stack:
    turns = []
    for system in SYSTEMS:
      try:
        client = Client(system, env=args.env, onnx=args.onnx, core=args.core)
      except Refused as error:
        print(f"Not measured: {error}", flush=True)
        continue
      stack.callback(client.close)
      boxes = val.boxes
      if system.start is not None:  # time does not depend on what is found from there
        boxes = tuning.square(val.boxes, down=system.start[0], scale=system.start[1])
      turns.append((f"{system.name}, {GIVEN}", client, [*boxes]))
      if system.detects:
        turns.append((f"{system.name}, {DETECTED}", client, [None] * len(val)))

    for _, client, boxes in turns:
      for number in range(WARM):
        client.ask(val.images[number % len(val)], boxes[number % len(val)])
    for number in range(args.rounds):
      for label, client, boxes in turns if number % 2 == 0 else reversed(turns):
        answers = [client.ask(*asked) for asked in zip(val.images, boxes, strict=True)]
        samples.setdefault(label, []).append(
          {
            "cpu_ms": statistics.median(each.cpu_ms for each in answers),
            "wall_ms": statistics.median(each.wall_ms for each in answers),
          }
        )
      print(f"round {number + 1} of {args.rounds}", flush=True)
  load.append(os.getloadavg()[0])

  content = {
    "cpu": machine.cpu(),
    "cores": os.cpu_count(),
    "load": [round(each, 1) for each in load],
    "faces": len(val),
    "rounds": args.rounds,
    "git_commit": git_commit(),
    "rows": [{"label": label, **summary(of_label)} for label, of_label in samples.items()],
  }
  TIMES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
  """What is reported of a system.

  Args:
    rounds: the medians over faces of each round.

  Returns:
    Their medians, and the smallest and the largest CPU time.
  """
  cpu = [each["cpu_ms"] for each in rounds]
  wall = [each["wall_ms"] for each in rounds]
  return {
    "cpu_ms": round(statistics.median(cpu), 3),
    "cpu_ms_range": [round(min(cpu), 3), round(max(cpu), 3)],
    "wall_ms": round(statistics.median(wall), 3),
  }


def _parse() -> argparse.Namespace:
  flags = parser(__doc__)
  flags.add_argument("--rounds", type=int, default=7)
  flags.add_argument("--faces", type=int, default=25, help="about so many of the hold-out")
  flags.add_argument("--core", type=int, default=0, help="the core that all are held on")
  return flags.parse_args()


if __name__ == "__main__":
  sys.exit(flag_parser.exit_code(main))
