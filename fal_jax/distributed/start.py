"""Joining a group of processes, and leaving it together."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fal_jax.distributed import supervisor
from fal_jax.distributed.group import Group
from fal_jax.distributed.watch import Watch
from fal_jax.errors import Diverged, InputError, Interrupted

# What collectives raise in the processes that are left.
_TORN = ("Gloo", "Connection closed by peer", "coordination service", "NCCL", "DEADLINE_EXCEEDED")


@contextlib.contextmanager
def joined(group: Group, *, timeout: float, patience: float) -> Iterator[None]:
  """Runs a block as one process of a group.

  An exception in one of them ends all: with its exit code and its sentence.

  Args:
    group: the processes.
    timeout: how long to wait for all of them, s.
    patience: how long one may be silent before it is taken for lost, s.

  Yields:
    Once all are there.

  Raises:
    InputError: they did not come together, or run different versions.
    Interrupted: what the block raised; the processes agree on that.
  """
  _initialise(group, timeout, patience)
  supervisor.announce(os.environ)
  # The runtime has no public store of notes; orbax uses this one, too.
  from jax._src.distributed import global_state

  client = global_state.client
  watch = Watch(client, index=jax.process_index(), count=jax.process_count(), patience=patience)
  try:
    _check_versions(client, timeout)
    yield
  except Interrupted:
    watch.close()
    jax.distributed.shutdown()
    raise
  except (InputError, Diverged) as error:
    watch.fail(error.exit_code, str(error))
  except BaseException as error:  # noqa: BLE001 - the others must not wait for this process
    if any(mark in str(error) for mark in _TORN):
      watch.fail(
        Interrupted.exit_code,
        "another process is gone; nothing is lost but the steps since the last checkpoint: the "
        f"same command resumes from there ({str(error).splitlines()[0][:150]}).",
      )
    traceback.print_exc()
    sys.stderr.flush()
    watch.fail(1, f"a defect: {type(error).__name__}: {str(error)[:200]}")
  else:
    watch.close()
    jax.distributed.shutdown()


def _initialise(group: Group, timeout: float, patience: float) -> None:
  options: dict[str, Any] = {
    "initialization_timeout": int(timeout),
    # Of JAX's own watch, which says nothing of use: ours comes first.
    "heartbeat_timeout_seconds": int(2.5 * patience),
  }
  if group.coordinator is not None:
    options |= {
      "coordinator_address": group.coordinator,
      "num_processes": group.count,
      "process_id": group.index,
      "cluster_detection_method": "deactivate",
    }
  elif group.local_devices is not None:
    options["local_device_ids"] = list(group.local_devices)

  try:
    jax.distributed.initialize(**options)
  except (RuntimeError, ValueError, OSError) as error:
    who = "this process" if group.index is None else f"process {group.index} of {group.count}"
    raise InputError(
      f"The processes started by {group.launcher} did not come together within {timeout:.0f} s, "
      f"says {who} ({str(error).splitlines()[0][:200]}): {supervisor.CAUSES}."
    ) from error


def _check_versions(client: Any, timeout: float) -> None:
  """Compares what the processes run with what process 0 runs."""
  import jaxlib

  own = f"Python {sys.version.split()[0]}, JAX {jax.__version__}, jaxlib {jaxlib.__version__}, "
  own += f"NumPy {np.__version__}"
  index = jax.process_index()
  if index == 0:
    client.key_value_set("fal_jax/versions", own, True)
    return
  first = client.blocking_key_value_get("fal_jax/versions", int(1000 * timeout))
  if first != own:
    raise InputError(
      f"Process 0 runs {first} and process {index} {own}: make all environments from the same lock "
      "file (launch/locks)."
    )
