"""Which processes train as one: read from the launcher's variables, or said by flags."""

import dataclasses
from collections.abc import Mapping

from fal_jax.errors import InputError

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Group:
  """Processes that run as one.

  Attributes:
    launcher: who started them, for messages.
    index: number of this process; None if only JAX can find out.
    count: how many there are; None if only JAX can find out.
    coordinator: host:port of process 0; None if JAX knows it from the launcher.
    local_devices: which accelerators of the machine belong to this process; None for JAX's rule.
  """

  launcher: str
  index: int | None = None
  count: int | None = None
  coordinator: str | None = None
  local_devices: tuple[int, ...] | None = None


def find(
  environ: Mapping[str, str],
  *,
  coordinator: str | None = None,
  process_index: int | None = None,
  process_count: int | None = None,
) -> Group | None:
  """The processes that this one belongs to.

  Args:
    environ: environment variables.
    coordinator: --coordinator: host:port of process 0, or "auto".
    process_index: --process_index.
    process_count: --process_count.

  Returns:
    The group; None for a process that runs alone.

  Raises:
    InputError: the flags are incomplete, or a variable of the launcher is no number.
  """
  numbers = (process_index, process_count)
  if coordinator == AUTO:
    if numbers != (None, None):
      raise InputError(
        "--coordinator=auto lets JAX find the processes: leave --process_index and "
        "--process_count out."
      )
    return Group("--coordinator=auto")
  if coordinator is not None or numbers != (None, None):
    return _from_flags(coordinator, process_index, process_count)

  if "SLURM_PROCID" in environ and "SLURM_STEP_NODELIST" in environ:  # else srun did not start us
    group = _counted(environ, "Slurm", index="SLURM_PROCID", count="SLURM_NTASKS")
    return group and dataclasses.replace(group, local_devices=_slurm_devices(environ))
  if "OMPI_COMM_WORLD_SIZE" in environ:
    return _counted(environ, "Open MPI", index="OMPI_COMM_WORLD_RANK", count="OMPI_COMM_WORLD_SIZE")
  if "," in environ.get("TPU_WORKER_HOSTNAMES", ""):
    return Group("the TPU slice (TPU_WORKER_HOSTNAMES)")
  if environ.get("MEGASCALE_NUM_SLICES", "1") != "1":
    return Group("the TPU slices (MEGASCALE_NUM_SLICES)")
  return None


def _from_flags(coordinator: str | None, index: int | None, count: int | None) -> Group | None:
  """The group that three flags describe."""
  if coordinator is None or index is None or count is None:
    raise InputError(
      "Several processes need all of --coordinator=HOST:PORT (of process 0), --process_index and "
      f"--process_count, got {coordinator}, {index} and {count}; on Slurm, Open MPI and TPU slices "
      "leave all three out."
    )
  host, colon, port = coordinator.rpartition(":")
  if not (host and colon and port.isdigit()):
    raise InputError(
      f"--coordinator={coordinator} is not HOST:PORT of process 0, e.g. --coordinator=node1:7777."
    )
  if not 0 <= index < count:
    raise InputError(
      f"--process_index={index} is not one of 0 to {count - 1}, of --process_count={count}."
    )
  return Group("--coordinator", index, count, coordinator) if count > 1 else None


def _counted(environ: Mapping[str, str], launcher: str, *, index: str, count: str) -> Group | None:
  """The group that two variables describe; JAX finds the coordinator."""
  texts = environ.get(index, ""), environ.get(count, "1")
  if not all(text.isdigit() for text in texts):
    raise InputError(
      f"{launcher} seems to have started this process, but {index}={texts[0]!r} and "
      f"{count}={texts[1]!r} are not its number and how many there are: unset them, or give "
      "--coordinator, --process_index and --process_count."
    )
  number, total = map(int, texts)
  return Group(launcher, number, total) if total > 1 else None


def _slurm_devices(environ: Mapping[str, str]) -> tuple[int, ...] | None:
  """All GPUs of the machine where Slurm started one task on it; JAX's rule is one GPU a task."""
  alone = environ.get("SLURM_NTASKS_PER_NODE") == "1" or environ.get("SLURM_NTASKS") == environ.get(
    "SLURM_STEP_NUM_NODES", environ.get("SLURM_NNODES")
  )
  gpus = environ.get("SLURM_GPUS_ON_NODE", "")
  return tuple(range(int(gpus))) if alone and gpus.isdigit() else None
