"""Checkpoints: orbax writes the arrays, our own digest finds the flipped bits it would restore."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from fal_jax.errors import InputError
from fal_jax.output import full_disk
from fal_jax.output.folders import make_dir


class Checkpoints:
  """The checkpoints of one run, in `<workdir>/checkpoints/<step>/`.

  Each holds `state` (arrays) and `extra` (JSON: config and digest). They are written in the
  background while training continues; `close`, or the end of a `with` block, waits for that.
  """

  def __init__(self, workdir: str | Path, *, keep: int | None = None, create: bool = True):
    """Opens the folder.

    Args:
      workdir: the run's folder.
      keep: how many of the newest stay on disk; None keeps all.
      create: whether to create a missing folder; if not, it is an InputError.

    Raises:
      InputError: there is no run, nothing can be written there, or another process is writing
        there.
    """
    self.directory = Path(workdir).expanduser().resolve() / "checkpoints"
    if create:
      make_dir(workdir, "checkpoints")
    elif not self.directory.is_dir():
      raise InputError(
        f"There is no run in {workdir} (no folder checkpoints/): "
        "train first, or give the --workdir of a run."
      )

    self._lock = _lock(self.directory) if create and jax.process_index() == 0 else None
    self._keep = keep
    self._damaged: set[int] = set()
    if self._lock is not None:
      # orbax would in a thread: too late for `check_room`, and noisily where a run ends at once.
      _remove_unfinished(self.directory)
    full_disk.silence_orbax()

    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=create)
    handlers = {"state": ocp.StandardCheckpointHandler(), "extra": ocp.JsonCheckpointHandler()}
    self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    """Closes; a full disk that the block met anywhere, or `close` here, becomes one sentence.

    Raises:
      InputError: no room was left for what was to be written.
    """
    failure = error
    try:
      self.close()
    except Exception as closing:  # noqa: BLE001 - raised below
      failure = closing

    reason = None if isinstance(failure, InputError) else full_disk.reason(failure)
    if reason is not None:
      raise InputError(
        f"Nothing more can be written to {self.directory.parent} ({reason}): make room there and "
        f"run the same command, which {self._where_to_resume()}."
      ) from failure
    if failure is not None and failure is not error:
      raise failure

  def check_room(self, state: Any, start: int, end: int, *, every: int) -> None:
    """Checks before the first step that the run's checkpoints will fit on the disk.

    While one is written, all that stay are still there beside it.

    Args:
      state: tree of arrays, as it will be saved.
      start: number of updates made so far.
      end: number of updates after which the run ends; the last is saved, too.
      every: updates from one checkpoint to the next.

    Raises:
      InputError: they will not fit.
    """
    saves = -(-end // every) - start // every if end > start else 0
    if self._keep is not None:
      saves = min(saves, max(self._keep + 1 - len(self._manager.all_steps()), 1))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    disk = shutil.disk_usage(self.directory)
    if saves * size > disk.free and disk.total:  # some network file systems do not know
      raise InputError(
        f"The checkpoints do not fit on the disk of {self.directory.parent}: they need "
        f"{_megabytes(saves * size)} MB more ({saves} of {_megabytes(size)} MB: one is written "
        f"while config.checkpoint.keep={self._keep} stay) and {_megabytes(disk.free)} MB are free: "
        "make room there, keep fewer, or name a --workdir on another disk."
      )

  def save(self, step: int, state: Any, extra: Mapping[str, Any]) -> None:
    """Saves the state after `step` steps; returns once the arrays are copied.

    A step that already exists is left alone, unless `restore_latest` found it damaged: a run that
    reaches that step again replaces it.

    Args:
      step: number of updates made.
      state: tree of arrays.
      extra: JSON values to keep beside them; `read_config` expects "config" among them.
    """
    if step in self._damaged:
      self._manager.delete(step)
      self._damaged.remove(step)
    if step in self._manager.all_steps():
      return

    extra = {**extra, "digest": digest(state)}
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave(extra))
    if not self._manager.save(step, args=args, force=True):
      raise RuntimeError(f"orbax declined to save step {step} in {self.directory}")

  def restore_latest(self, abstract_state: Any) -> tuple[Any, dict[str, Any], int] | None:
    """The newest intact checkpoint; damaged ones are reported, skipped and left where they are.

    Args:
      abstract_state: the expected tree, of arrays or `jax.ShapeDtypeStruct` with the shardings
        wanted.

    Returns:
      state, extra and step, or None if nothing was saved yet.

    Raises:
      InputError: checkpoints exist but none is intact, or they were saved by a different network.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    skipped: dict[int, Exception] = {}
    for step in steps:
      try:
        extra = self._read_extra(step)
        saved = self._manager.item_metadata(step).state
        _check_shapes(saved, abstract_state, where=self.directory / str(step))

        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        state = self._manager.restore(step, args=args).state
        if digest(state) != extra["digest"]:
          raise ValueError("the arrays do not have the digest that was saved with them")
      # Whatever a damaged file makes orbax raise, the checkpoint before it may be intact.
      except Exception as error:  # noqa: BLE001
        skipped[step] = error
        continue

      self._warn(skipped)
      return state, extra, step

    for reason in skipped.values():
      if isinstance(reason, InputError):  # nothing is damaged: a different network saved them all
        raise reason

    self._warn(skipped)
    if steps:
      raise InputError(
        f"All checkpoints in {self.directory} are damaged ({steps}): "
        "restore a copy or use another --workdir."
      )
    return None

  def read_config(self) -> dict[str, Any] | None:
    """The config saved with the newest readable checkpoint, or None if there is none."""
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return self._read_extra(step)["config"]
      except Exception as error:  # noqa: BLE001 - as above
        where = self.directory / str(step)
        logging.warning("Checkpoint %s is damaged: %s", where, _first_line(error))
    return None

  def close(self) -> None:
    """Waits for what is being written, and raises if that failed."""
    try:
      self._manager.wait_until_finished()
    finally:
      self._manager.close()
      if self._lock is not None:
        _remove_unfinished(self.directory)
        os.close(self._lock)
        self._lock = None

  def _where_to_resume(self) -> str:
    """What the next start does, for a message; orbax has forgotten the steps it was to remove."""
    names = {path.name for path in self.directory.iterdir() if path.name.isdigit()}
    steps = {int(name) for name in names} - self._damaged
    return f"resumes from step {max(steps)}" if steps else "starts again, as nothing was saved"

  def _warn(self, skipped: Mapping[int, Exception]) -> None:
    """Reports damaged checkpoints, and remembers that `save` may replace them."""
    for step, error in skipped.items():
      where = self.directory / str(step)
      logging.warning("Checkpoint %s is damaged and was skipped: %s", where, _first_line(error))
    self._damaged.update(skipped)

  def _read_extra(self, step: int) -> dict[str, Any]:
    args = ocp.args.Composite(extra=ocp.args.JsonRestore())
    return self._manager.restore(step, args=args).extra


def digest(state: Any) -> str:
  """SHA-256 over names, types, shapes and bytes of all leaves of a tree of arrays.

  Returns:
    Hexadecimal digits, equal for equal bits on any devices.
  """
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    array = np.asarray(leaf)
    sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
    sha.update(np.ascontiguousarray(array).tobytes())
  return sha.hexdigest()


def _lock(directory: Path) -> int:
  """Keeps a second run out of the folder, where it would silently replace the first's checkpoints.

  Returns:
    A file descriptor; closing it releases the lock, as does the end of the process, even a kill.

  Raises:
    InputError: another process has the lock.
  """
  handle = os.open(directory, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(handle)
    raise InputError(
      f"Another process is training in {directory.parent}: "
      "wait for it to finish or use another --workdir."
    ) from error
  except OSError as error:  # some network file systems have no locks
    logging.warning("%s cannot be locked against a second run: %s", directory, error)
  return handle


def _remove_unfinished(directory: Path) -> None:
  """Removes the checkpoints that a kill or a full disk left half written."""
  for _ in range(20):  # where one array failed, others may still be on their way for a moment
    unfinished = list(directory.glob("*.orbax-checkpoint-tmp*"))
    if not unfinished:
      return
    for path in unfinished:
      shutil.rmtree(path, ignore_errors=True)
    time.sleep(0.05)


def _check_shapes(saved: Any, wanted: Any, *, where: Path) -> None:
  """Reports a checkpoint of a different network in one sentence, not in orbax's hundred lines.

  Args:
    saved: tree of what was saved; its leaves have a shape.
    wanted: tree of what the network expects; its leaves have a shape.
    where: folder of the checkpoint.

  Raises:
    InputError: names or shapes differ.
    ValueError: the checkpoint does not list its arrays.
  """

  def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(_key_name(key) for key in path): tuple(leaf.shape) for path, leaf in leaves}

  before, after = shapes(saved), shapes(wanted)
  if not before:
    raise ValueError("the list of its arrays is missing")

  different = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
  if different:
    # A parameter says more than the optimiser's state.
    name = min(different, key=lambda name: not name.startswith("params/"))
    raise InputError(
      f"The checkpoint {where} was saved by a different network: "
      f"{name} has shape {before.get(name)} in the checkpoint and {after.get(name)} in this config "
      f"({len(different)} arrays differ in all); "
      "use the config it was trained with, or another --workdir."
    )


def _key_name(key: Any) -> str:
  """The name of one step of a path into a tree, whichever kind of key JAX or orbax uses."""
  for attribute in ("key", "name", "idx"):
    if hasattr(key, attribute):
      return str(getattr(key, attribute))
  return str(key)


def _megabytes(size: int) -> str:
  """A number of bytes in MB, to a tenth."""
  return f"{size / 1e6:,.1f}"


def _first_line(error: Exception) -> str:
  """An error's type and the start of its message, for a warning."""
  lines = str(error).strip().splitlines() or [""]
  return f"{type(error).__name__}: {lines[0][:200]}"
