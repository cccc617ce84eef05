"""Checkpoints: orbax for the arrays, a digest of our own because orbax restores flipped bits
without complaint.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from fal_jax.errors import InputError


class Checkpoints:
  """The checkpoints of one run, in `<workdir>/checkpoints/<step>/`.

  Each holds `state` (arrays) and `extra` (JSON: config and digest). Writing goes on in the
  background while training does; `close` waits for it.
  """

  def __init__(self, workdir: str | Path, *, keep: int | None = None, create: bool = True):
    """Opens the folder.

    Args:
      workdir: of the run.
      keep: how many of the newest stay on disk; None keeps all.
      create: whether a missing folder is made; if not, it is an InputError.

    Raises:
      InputError: there is no run, nothing can be written there, or another process is writing
        there.
    """
    self.directory = Path(workdir).expanduser().resolve() / "checkpoints"
    if not create and not self.directory.is_dir():
      raise InputError(
        f"There is no run in {workdir} (no folder checkpoints/): train first, or give the --workdir of a run."
      )
    if create:
      try:
        self.directory.mkdir(parents=True, exist_ok=True)
      except OSError as error:
        raise InputError(
          f"Nothing can be written to --workdir={workdir}: {error.strerror}; give another one."
        ) from error
      if not os.access(self.directory, os.W_OK):
        raise InputError(
          f"Nothing can be written to --workdir={workdir}: it is read-only for you; give another one."
        )
    self._lock = _lock(self.directory) if create and jax.process_index() == 0 else None
    self._damaged: set[int] = set()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, create=create, cleanup_tmp_directories=create
    )
    handlers = {"state": ocp.StandardCheckpointHandler(), "extra": ocp.JsonCheckpointHandler()}
    self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

  def save(self, step: int, state: Any, extra: Mapping[str, Any]) -> None:
    """Keeps the state after `step` steps; returns once the arrays are copied. A step that is there
    already is left alone.

    Unless `restore_latest` has found it damaged: a run that comes to that step again replaces it.
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
    """The newest checkpoint that is whole; damaged ones are named, passed over and left where they
    are.

    Args:
      abstract_state: the expected tree, of arrays or `jax.ShapeDtypeStruct` with the shardings
        wanted.

    Returns:
      state, extra and step, or None if nothing was saved yet.

    Raises:
      InputError: checkpoints exist but none is whole, or they are of another network.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    passed_over: dict[int, Exception] = {}
    for step in steps:
      try:
        extra = self._read_extra(step)
        _check_shapes(
          self._manager.item_metadata(step).state, abstract_state, where=self.directory / str(step)
        )
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        state = self._manager.restore(step, args=args).state
        if digest(state) != extra["digest"]:
          raise ValueError("the arrays do not have the digest that was saved with them")
      # Whatever a damaged file makes orbax raise, the checkpoint before it may be whole.
      except Exception as error:  # noqa: BLE001
        passed_over[step] = error
        continue
      self._warn(passed_over)
      return state, extra, step
    for reason in passed_over.values():
      if isinstance(reason, InputError):  # nothing is damaged: all of them are of another network
        raise reason
    self._warn(passed_over)
    if steps:
      raise InputError(
        f"All checkpoints in {self.directory} are damaged ({steps}): restore a copy or use another --workdir."
      )
    return None

  def read_config(self) -> dict[str, Any] | None:
    """The config saved with the newest readable checkpoint, or None if there is none."""
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return self._read_extra(step)["config"]
      except Exception as error:  # noqa: BLE001 - as above
        logging.warning(
          "Checkpoint %s is damaged: %s", self.directory / str(step), _first_line(error)
        )
    return None

  def close(self) -> None:
    """Waits for what is being written, and raises if it could not be."""
    try:
      self._manager.wait_until_finished()
    finally:
      self._manager.close()
      if self._lock is not None:
        os.close(self._lock)
        self._lock = None

  def _warn(self, passed_over: Mapping[int, Exception]) -> None:
    for step, error in passed_over.items():
      logging.warning(
        "Checkpoint %s is damaged and was passed over: %s",
        self.directory / str(step),
        _first_line(error),
      )
    self._damaged.update(passed_over)

  def _read_extra(self, step: int) -> dict[str, Any]:
    return self._manager.restore(step, args=ocp.args.Composite(extra=ocp.args.JsonRestore())).extra


def digest(state: Any) -> str:
  """SHA-256 over names, types, shapes and bytes of all leaves: equal for equal bits, wherever they
  live.
  """
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    array = np.asarray(leaf)
    sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
    sha.update(np.ascontiguousarray(array).tobytes())
  return sha.hexdigest()


def config_differences(
  saved: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
  """Dotted keys whose values differ, with the saved and the present value (None where a side lacks
  the key).
  """
  differences: dict[str, tuple[Any, Any]] = {}
  for key in sorted({*saved, *now}):
    before, after = saved.get(key), now.get(key)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
      differences |= config_differences(before, after, prefix=f"{prefix}{key}.")
    elif json.loads(json.dumps(before)) != json.loads(
      json.dumps(after)
    ):  # tuples come back from JSON as lists
      differences[prefix + key] = before, after
  return differences


def write_atomic(path: Path, text: str) -> None:
  """Writes a small file that others find as it was or as it is now, never half of it, whatever
  kills this process.
  """
  unfinished = path.with_name(f"{path.name}.unfinished")
  unfinished.write_text(text, encoding="utf-8")
  os.replace(unfinished, path)


def _lock(directory: Path) -> int:
  """Keeps a second run out of the folder, where it would replace the first one's checkpoints
  unnoticed.

  Returns:
    A handle; the lock ends when it is closed, or with the process, however that ends.
  """
  handle = os.open(directory, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(handle)
    raise InputError(
      f"Another process is training in {directory.parent}: wait for its end or use another --workdir."
    ) from error
  except OSError as error:  # some network file systems know no locks
    logging.warning("%s cannot be locked against a second run: %s", directory, error)
  return handle


def _check_shapes(saved: Any, wanted: Any, *, where: Path) -> None:
  """One sentence instead of orbax's hundred lines when a checkpoint is of another network."""

  def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(_key_name(key) for key in path): tuple(leaf.shape) for path, leaf in leaves}

  before, after = shapes(saved), shapes(wanted)
  if not before:
    raise ValueError("the list of its arrays is missing")
  different = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
  if different:
    name = min(
      different, key=lambda name: not name.startswith("params/")
    )  # says more than the optimiser's flat vectors
    raise InputError(
      f"The checkpoint {where} is of another network: {name} has shape {before.get(name)} there and {after.get(name)} here "
      f"({len(different)} arrays differ in all); use the config it was trained with, or another --workdir."
    )


def _key_name(key: Any) -> str:
  for attribute in ("key", "name", "idx"):
    if hasattr(key, attribute):
      return str(getattr(key, attribute))
  return str(key)


def _first_line(error: Exception) -> str:
  return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
