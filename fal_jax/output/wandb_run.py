"""The scalars of a run in Weights & Biases too, where `config.log.wandb_project` names a project.

Tried with a stand-in for the package only, never against the service.
"""

import importlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fal_jax.errors import InputError
from fal_jax.output import bucket


def package() -> Any:
  """The package `wandb`, which the project does not bring along.

  Raises:
    InputError: it is not installed.
  """
  try:
    return importlib.import_module("wandb")
  except ImportError as error:
    raise InputError(
      "config.log.wandb_project needs the package wandb, which is not installed: "
      "pip install wandb, or leave the key out."
    ) from error


def start(extra: dict[str, Any], saved: Mapping[str, Any], workdir: str | Path) -> "WandbRun":
  """The run of a training there, which is the same one when the training resumes.

  Args:
    extra: what is saved with each checkpoint, `config` among it; `wandb_id` is added.
    saved: the same of the checkpoint from which the training resumes; empty for a fresh one.
    workdir: the folder of the training.

  Returns:
    A context, at whose end the run there ends.

  Raises:
    InputError: as `WandbRun`.
  """
  extra["wandb_id"] = saved.get("wandb_id") or secrets.token_hex(8)
  return WandbRun(
    extra["config"]["log"]["wandb_project"],
    run_id=extra["wandb_id"],
    resumed=bool(saved),
    config=extra["config"],
    workdir=workdir,
  )


class WandbRun:
  """One run there. Whatever fails after its start costs a printed line and nothing else."""

  def __init__(
    self,
    project: str,
    *,
    run_id: str,
    resumed: bool,
    config: Mapping[str, Any],
    workdir: str | Path,
    echo: Callable[[str], None] = print,
  ):
    """Starts a run, or goes on with the one that has this id.

    Args:
      project: its name.
      run_id: the same after each resume.
      resumed: whether the training resumes: then it goes on without if the service does not answer,
        as nobody may be there to see it.
      config: nested JSON values.
      workdir: the folder of the training, after which the run is called.
      echo: called with a line about a failure.

    Raises:
      InputError: the package is missing, or a fresh run cannot be started there.
    """
    wandb = package()
    self._echo = echo
    self._run: Any = None
    options: dict[str, Any] = {} if bucket.is_address(workdir) else {"dir": str(workdir)}
    try:
      self._run = wandb.init(
        project=project,
        id=run_id,
        resume="allow",
        name=Path(workdir).name,
        config=dict(config),
        **options,
      )
    except Exception as error:
      if not resumed:
        raise InputError(
          f"Weights & Biases cannot be started ({bucket.reason(error)}): run `wandb login`, set "
          "WANDB_MODE=offline, or leave config.log.wandb_project out."
        ) from error
      self._lose(error)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Sends the scalars of one step; those of a step that it has seen already, it ignores."""
    if self._run is None:
      return
    try:
      self._run.log(dict(values), step=step)
    except Exception as error:  # noqa: BLE001 - a training outlives it
      self._lose(error)

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    if self._run is None:
      return
    try:
      self._run.finish(exit_code=0 if error is None else 1)
    except Exception as failure:  # noqa: BLE001 - as above
      self._lose(failure)

  def _lose(self, error: Exception) -> None:
    self._run = None
    reason = bucket.reason(error)
    self._echo(f"Weights & Biases gets nothing more ({reason}); the training goes on.")
