"""The command line on several processes: the flags that name them, and how each one runs."""

import contextlib
import os
import sys
from collections.abc import Callable

from absl import flags

from fal_jax import flag_parser
from fal_jax.distributed import supervisor
from fal_jax.distributed.group import Group, find
from fal_jax.errors import InputError
from fal_jax.output import bucket, folders, owner

# Modes that several processes run together.
MODES = ("train", "eval")

_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "train, eval on several processes: HOST:PORT of process 0, the same for all; not needed on Slurm "
  "and Open MPI; 'auto' on a TPU VM slice.",
)
_PROCESS_INDEX = flags.DEFINE_integer(
  "process_index", None, "with --coordinator: number of this process, from 0.", lower_bound=0
)
_START_TIMEOUT = flags.DEFINE_integer(
  "start_timeout",
  300,
  "s that processes wait for each other at their start: machines of one job start minutes apart.",
  lower_bound=1,
)
_SILENCE_TIMEOUT = flags.DEFINE_integer(
  "silence_timeout",
  40,
  "s without a sign of life after which one of several processes is taken for lost, and ends all.",
  lower_bound=5,
)
_PROCESS_COUNT = flags.DEFINE_integer(
  "process_count", None, "with --coordinator: how many processes there are.", lower_bound=1
)


def exit_code(mode: str, run: Callable[[], None]) -> int:
  """Runs a mode of the command line alone, or as one of several processes.

  One of several runs as a child of this one, see `supervisor`.

  Args:
    mode: of the command line.
    run: runs it.

  Returns:
    The exit code.
  """
  groups: list[Group | None] = []
  if code := flag_parser.exit_code(lambda: groups.append(_group(mode))):
    return code
  (group,) = groups

  def reach_and_run() -> None:
    with bucket.failures_said():  # here, where all that is read and written comes from
      run()

  if group is None:
    return flag_parser.exit_code(reach_and_run)
  if not supervisor.is_child(os.environ):
    code = supervisor.run(group, supervisor.command(sys.argv[1:]), environ=os.environ)
    if code and not group.index:  # process 0 owns the folder; some do not know their number
      _forget_dead()
    return code

  supervisor.end_with_parent()
  return flag_parser.exit_code(lambda: _run_in(group, reach_and_run))


def _group(mode: str) -> Group | None:
  """The processes that this one is of; None if it is alone."""
  group = find(
    os.environ,
    coordinator=_COORDINATOR.value,
    process_index=_PROCESS_INDEX.value,
    process_count=_PROCESS_COUNT.value,
  )
  if group is not None and mode not in MODES:
    raise InputError(
      f"--mode={mode} is for one process, and {group.launcher} started several: start one."
    )
  return group


def _run_in(group: Group, run: Callable[[], None]) -> None:
  from fal_jax.distributed import start  # and with it JAX

  patience = float(_SILENCE_TIMEOUT.value)
  with start.joined(group, timeout=_START_TIMEOUT.value, patience=patience):
    run()


def _forget_dead() -> None:
  """Takes a bucket's folder from the child, which was perhaps torn down before it gave it back."""
  workdir = flag_parser.WORKDIR.value
  if workdir and bucket.is_address(workdir):
    with contextlib.suppress(Exception):  # whatever a client raises: the next start waits, then
      owner.forget_dead(folders.locate(workdir))
