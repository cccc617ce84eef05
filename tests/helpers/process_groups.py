"""Several processes of one run on this machine, started as Slurm's srun would start them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import quick_xla
import tiny_dataset
from ml_collections import ConfigDict

from fal_jax import config_json

PATIENCE = 420  # s, for what takes seconds on an idle machine
END_WITHIN = 180  # s, after one has ended; seconds on an idle machine
KEEPING = str(Path(__file__).parent / "every_process")
# JAX makes the coordinator's port of Slurm's job number.
_FIRST_PORT, _NUM_PORTS = 61_440, 4_096


class Run(NamedTuple):
  """Processes of one run, and where each one's output goes."""

  processes: list[subprocess.Popen]
  outputs: list[Path]

  def codes(self, timeout: float = PATIENCE) -> list[int]:
    """Exit codes of all, once the last has ended."""
    until = time.monotonic() + timeout
    return [each.wait(timeout=max(until - time.monotonic(), 0.1)) for each in self.processes]

  def text(self, index: int) -> str:
    """What a process has said so far."""
    return self.outputs[index].read_text()

  def trains(self, index: int) -> int:
    """Number of the process that trains: of a group the child of what was started, once there."""
    pid = self.processes[index].pid
    if len(self.processes) == 1:
      return pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid

  def wait_for(self, index: int, text: str) -> None:
    """Returns when a process has said something."""
    until = time.monotonic() + PATIENCE
    while text not in self.text(index):
      assert self.processes[index].poll() is None, self.text(index)
      assert time.monotonic() < until, self.text(index)
      time.sleep(0.02)


@contextlib.contextmanager
def started(
  config: ConfigDict, workdir: Path, *, count: int = 2, flags: Sequence[str] = ()
) -> Iterator[Run]:
  """Runs `fal_jax.main` in several processes; kills what is left at the end.

  Args:
    config: of the run.
    workdir: of the run.
    count: number of processes; one is started as nobody's.
    flags: more of them.

  Yields:
    The processes.
  """
  saved = workdir.with_name(f"{workdir.name}_config")
  saved.mkdir(exist_ok=True)
  (saved / "config.json").write_text(json.dumps(config_json.to_json(config)))
  command = [sys.executable, "-m", "fal_jax.main", f"--config=configs/saved.py:{saved}"]
  command += [f"--workdir={workdir}", *flags]

  common = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "1",
    "XLA_FLAGS": quick_xla.FLAGS,
    "PYTHONPATH": os.pathsep.join([KEEPING, *filter(None, [os.environ.get("PYTHONPATH")])]),
  }
  job = str(_free_port() - _FIRST_PORT)
  outputs = [saved / f"{time.monotonic_ns()}_{index}.txt" for index in range(count)]
  with contextlib.ExitStack() as stack:
    processes = []
    for index, output in enumerate(outputs):
      slurm = {
        "SLURM_JOB_ID": job,
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
      }
      file = stack.enter_context(output.open("w"))
      process = stack.enter_context(
        subprocess.Popen(
          command,
          stdout=file,
          stderr=subprocess.STDOUT,
          env=common | (slurm if count > 1 else {}),
          cwd=tiny_dataset.ROOT,
        )
      )
      stack.callback(process.kill)
      processes.append(process)
    yield Run(processes, outputs)


def _free_port() -> int:
  """One of the ports that a job number can stand for."""
  first = _FIRST_PORT + os.getpid() % _NUM_PORTS
  for port in (*range(first, _FIRST_PORT + _NUM_PORTS), *range(_FIRST_PORT, first)):
    with socket.socket() as sock, contextlib.suppress(OSError):
      sock.bind(("localhost", port))
      return port
  raise AssertionError("no port is free")
