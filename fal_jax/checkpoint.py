"""Checkpoints: orbax writes the arrays, our own digest finds the flipped bits it would restore."""

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from fal_jax.errors import InputError, lacking
from fal_jax.output import bucket, full_disk, owner, seal, tree_shapes
from fal_jax.output.folders import exists, make_dir, remove, resolve

# All that releases without a seal kept beside the arrays.
_UNSEALED = {"config", "train_images", "weights", "digest"}


class Checkpoints:
  """The checkpoints of one run, in `<workdir>/checkpoints/<step>/`.

  Each holds `state` (arrays) and `extra` (JSON: config, origin, log, the digest of the arrays, and
  a seal over all of that). They are written in the background while training continues; `close`,
  or the end of a `with` block, waits for that.
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
    folder = resolve(workdir)
    self.directory = folder / "checkpoints"
    if create:
      make_dir(workdir, "checkpoints")
    elif not (exists(self.directory) and self.directory.is_dir()):
      raise InputError(
        f"There is no run in {workdir} (no folder checkpoints/): "
        "train first, or give the --workdir of a run."
      )

    self._owner = owner.take(folder) if create and jax.process_index() == 0 else None
    self._keep = keep
    self._damaged: set[int] = set()
    if self._owner is not None:
      # orbax would in a thread: too late for `check_room`, and noisily where a run ends at once.
      _remove_unfinished(self.directory)
    full_disk.silence_orbax()
    self._put_off: Exception | None = None  # why the newest step is not saved
    self._manager = self._open(create=create)

  def _open(self, *, create: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, create=create)
    handlers = {"state": ocp.StandardCheckpointHandler(), "extra": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

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
    if bucket.is_address(self.directory):  # which has no end
      return
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
    reaches that step again replaces it. Where there is no room, one line says so, the next call
    tries again, and `close` raises if that has not helped.

    Args:
      step: number of updates made.
      state: tree of arrays.
      extra: JSON values to keep beside them; `read_config` expects "config" among them.
    """
    if self._owner is not None:
      self._owner.check()
    self._settle()
    if step in self._damaged:
      self._manager.delete(step)
      self._damaged.remove(step)
    if step in self._manager.all_steps():
      return

    extra = seal.sealed({**extra, "digest": digest(state)})
    state = _global(state)
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave(extra))
    try:
      saved = self._manager.save(step, args=args, force=True)
    except Exception as error:  # noqa: BLE001 - raised again unless the disk is full
      self._try_later(error)
      return
    if not saved:
      raise RuntimeError(f"orbax declined to save step {step} in {self.directory}")
    self._put_off = None

  def _settle(self) -> None:
    """Waits for what is being written."""
    try:
      self._manager.wait_until_finished()
    except Exception as error:  # noqa: BLE001 - raised again unless the disk is full
      self._try_later(error)

  def _try_later(self, error: Exception) -> None:
    """Forgets a save that found no room, after saying so; raises any other error."""
    reason = full_disk.reason(error)
    if reason is None or jax.process_count() > 1:  # of several processes all must know
      raise error
    print(
      f"A checkpoint could not be saved in {self.directory.parent} ({reason}): the next one tries "
      "again; make room there.",
      flush=True,
    )
    self._put_off = error
    self._manager.close()
    _remove_unfinished(self.directory)
    self._manager = self._open(create=True)  # the old one takes the step for saved

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
        state, extra = self._restore(step, abstract_state)
      # Whatever a damaged file makes orbax raise, the checkpoint before it may be intact.
      except Exception as error:  # noqa: BLE001
        self._check_readable(step, error)
        skipped[step] = error
        continue

      self._warn(skipped)
      if seal.KEY not in extra and jax.process_index() == 0:
        print(
          f"Note: {self.directory / str(step)} is of an earlier release, which sealed the arrays "
          "alone: whether its config is unchanged cannot be told.",
          flush=True,
        )
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

  def restore_each(self, abstract_state: Any) -> Iterator[tuple[int, Any]]:
    """All intact checkpoints, one at a time; damaged ones are reported and skipped.

    Args:
      abstract_state: as in `restore_latest`.

    Yields:
      step and state, the oldest first.

    Raises:
      InputError: they were saved by a different network.
    """
    for step in sorted(self._manager.all_steps()):
      try:
        state, _ = self._restore(step, abstract_state)
      except InputError:
        raise
      except Exception as error:  # noqa: BLE001 - as above
        self._check_readable(step, error)
        self._warn({step: error})
        continue
      yield step, state

  def read_config(self) -> dict[str, Any] | None:
    """The config saved with the newest readable checkpoint, or None if there is none."""
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return self._read_extra(step)["config"]
      except Exception as error:  # noqa: BLE001 - as above
        self._check_readable(step, error)
        where = self.directory / str(step)
        logging.warning("Checkpoint %s is damaged: %s", where, _first_line(error))
    return None

  def newest(self) -> int | None:
    """The newest step on disk that is not known to be damaged, once all are written."""
    self._settle()
    return max(self._on_disk(), default=None)

  def close(self) -> None:
    """Waits for what is being written, and raises if that failed."""
    try:
      self._manager.wait_until_finished()
      if self._put_off is not None:
        raise self._put_off
    finally:
      self._manager.close()
      if self._owner is not None:
        try:
          _remove_unfinished(self.directory)
        finally:
          self._owner.release()
          self._owner = None

  def _where_to_resume(self) -> str:
    """What the next start does, for a message."""
    steps = self._on_disk()
    return f"resumes from step {max(steps)}" if steps else "starts again, as nothing was saved"

  def _on_disk(self) -> set[int]:
    """Steps that are there and not known to be damaged; orbax forgets those it was to remove."""
    names = {path.name for path in self.directory.iterdir() if path.name.isdigit()}
    return {int(name) for name in names} - self._damaged

  def _check_readable(self, step: int, error: Exception) -> None:
    """Raises InputError if an error says nothing about a checkpoint, which may be intact."""
    if (unread := bucket.failure(error)) is not None:
      raise unread from error
    if (reason := lacking(error)) is not None:
      raise InputError(
        f"The checkpoint {self.directory / str(step)} cannot be read now ({reason}): it may be "
        "intact; see to that, and run the same command."
      ) from error

  def _warn(self, skipped: Mapping[int, Exception]) -> None:
    """Reports damaged checkpoints, and remembers that `save` may replace them."""
    for step, error in skipped.items():
      where = self.directory / str(step)
      logging.warning("Checkpoint %s is damaged and was skipped: %s", where, _first_line(error))
    self._damaged.update(skipped)

  def _restore(self, step: int, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
    """State and extra of one checkpoint; raises whatever orbax does where it is damaged."""
    extra = self._read_extra(step)
    saved = self._manager.item_metadata(step).state
    tree_shapes.check(saved, abstract_state, where=self.directory / str(step))

    args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
    state = self._manager.restore(step, args=args).state
    if digest(state) != extra["digest"]:
      raise ValueError("the arrays do not have the digest that was saved with them")
    return state, extra

  def _read_extra(self, step: int) -> dict[str, Any]:
    args = ocp.args.Composite(extra=ocp.args.JsonRestore())
    extra = self._manager.restore(step, args=args).extra
    intact = seal.is_intact(extra)
    if not intact and (intact is False or not extra.keys() <= _UNSEALED):
      raise ValueError("its config, origin or log is not what was saved")
    return extra


def _global(state: Any) -> Any:
  """The same arrays in the form in which orbax saves them from several processes.

  pmap gives each process replicas of its own, which orbax refuses.
  """
  if jax.process_count() == 1:
    return state

  def of_all(leaf: Any) -> Any:
    if not leaf.is_fully_addressable:
      return leaf
    return ocp.utils.fully_replicated_host_local_array_to_global_array(leaf)

  return jax.tree.map(of_all, state)


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


def _remove_unfinished(directory: Path) -> None:
  """Removes the checkpoints that a kill or a full disk left half written."""
  for _ in range(20):  # where one array failed, others may still be on their way for a moment
    unfinished = list(_unfinished(directory))
    if not unfinished:
      return
    for path in unfinished:
      remove(path)
    time.sleep(0.05)


def _unfinished(directory: Path) -> Iterator[Path]:
  """What orbax has not declared finished: by renaming the folder, or in a bucket by an object."""
  if not bucket.is_address(directory):
    yield from directory.glob("*.orbax-checkpoint-tmp*")
  elif directory.exists():
    steps = (path for path in directory.iterdir() if path.name.isdigit())
    yield from (path for path in steps if not (path / "commit_success.txt").exists())


def _megabytes(size: int) -> str:
  """A number of bytes in MB, to a tenth."""
  return f"{size / 1e6:,.1f}"


def _first_line(error: Exception) -> str:
  """An error's type and the start of its message, for a warning."""
  lines = str(error).strip().splitlines() or [""]
  return f"{type(error).__name__}: {lines[0][:200]}"
