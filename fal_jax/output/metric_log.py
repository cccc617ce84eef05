"""The log of a run: JSON lines and TensorBoard events, and progress lines on the screen."""

import contextlib
import json
import math
import os
import pathlib
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from fal_jax.errors import InputError


class MetricLog:
  """Appends the metrics of a run to its work directory.

  `workdir/metrics.jsonl` holds {"step": 100, "train/loss": 0.01, ...} per line, oldest first; a
  number that is not finite is null there, since JSON cannot express it. `workdir/tensorboard/`
  holds the same scalars for TensorBoard.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    resume_step: int,
    enabled: bool = True,
    clock: Callable[[], float] = time.monotonic,
    echo: Callable[[str], None] = print,
  ):
    """Opens the log and drops what an earlier run wrote after the step from which this one resumes.

    Without that, a run that was killed between two checkpoints would leave the steps it repeats in
    the log twice.

    Args:
      workdir: created if missing.
      resume_step: updates already done; 0 for a fresh run, which clears the log.
      enabled: False makes a log whose methods touch no file and print nothing. In a run of several
        processes only the first one may write.
      clock: monotonic, s; tests pass their own.
      echo: progress callback, called with each line.

    Raises:
      InputError: if a line of an existing metrics.jsonl, other than a half-written last one, is not
        a record of a step.
    """
    self._enabled = enabled
    if not enabled:
      return

    # Importing it takes a third of a second, which prediction need not spend.
    from tensorboardX.proto.event_pb2 import SessionLog
    from tensorboardX.record_writer import RecordWriter

    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "metrics.jsonl"
    _keep_until(path, resume_step)
    self._lines = path.open("a", encoding="utf-8")
    board = workdir / "tensorboard"
    board.mkdir(exist_ok=True)
    # Not through SummaryWriter, whose thread dies where the disk is full and is then waited for.
    name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
    self._board = RecordWriter(str(board / name))
    self._board.write(_event(0, file_version="brain.Event:2"))
    # TensorBoard hides the events of an interrupted run from that step on.
    session = SessionLog(status=SessionLog.START)
    self._board.write(_event(resume_step + 1, session_log=session))

    self._clock = clock
    self._echo = echo
    self._last = (resume_step, clock())
    self._first: tuple[int, float] | None = None

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Records the scalars of one step.

    Args:
      step: updates done.
      metrics: name -> number or array (), e.g. {"train/loss": 0.01} or {"eval/nme_ic": 3.7}.

    Raises:
      OSError: the disk is full; what was recorded before can be read.
    """
    if not self._enabled:
      return

    values = {name: float(value) for name, value in metrics.items()}
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    record = {"step": int(step), **finite}
    self._lines.write(json.dumps(record, allow_nan=False) + "\n")
    self._lines.flush()  # a killed run keeps what it has logged

    from tensorboardX import summary

    scalars = [summary.scalar(name, value).value[0] for name, value in values.items()]
    self._board.write(_event(step, summary=summary.Summary(value=scalars)))
    self._board.flush()

  def progress(
    self, step: int, metrics: Mapping[str, Any], *, total_steps: int, images_per_step: int
  ) -> None:
    """Records metrics and prints the step, the percentage, images per second and the time left.

    The rate is measured since the last call, so that a stall shows at once. The time left is
    estimated from the mean rate, which is steadier. The mean includes pauses for evaluation, since
    there will be more of them, but from the second call on it excludes the time up to the first
    call, since compilation happens only once.

    Args:
      step: updates done.
      metrics: as in `write`.
      total_steps: steps of the whole run.
      images_per_step: images in the batch, over all devices.
    """
    if not self._enabled:
      return

    now = (step, self._clock())
    rate = _rate(self._last, now)
    mean_rate = _rate(self._first or self._last, now)
    self._first = self._first or now
    self._last = now
    self.write(step, {**metrics, "images_per_second": rate * images_per_step})

    left = duration((total_steps - step) / mean_rate) if mean_rate > 0 else "unknown"
    parts = [
      f"step {step:{len(str(total_steps))}d}/{total_steps} {100 * step / total_steps:5.1f} %",
      f"{rate * images_per_step:.1f} images/s",
      f"left {left}",
      *(f"{name} {float(value):.4g}" for name, value in metrics.items()),
    ]
    self._echo("  ".join(parts))

  def close(self) -> None:
    """Flushes and closes the files; calling it again does nothing."""
    if not self._enabled or self._lines.closed:
      return

    with contextlib.closing(self._board):
      self._lines.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.close()


def read(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Reads metrics.jsonl back.

  Args:
    workdir: the run's folder.

  Returns:
    Its records, oldest first, without a half-written last line; none if the run has logged nothing.

  Raises:
    InputError: if another line is not a record of a step.
  """
  path = pathlib.Path(workdir, "metrics.jsonl")
  if not path.is_file():
    return []

  text = path.read_text(encoding="utf-8")
  complete = text[: text.rfind("\n") + 1]  # a killed process may leave a line without its end

  records = []
  for number, line in enumerate(complete.splitlines(), 1):
    try:
      record = json.loads(line)
      record["step"] = int(record["step"])
    except (ValueError, TypeError, KeyError) as error:
      raise InputError(
        f"{path} line {number} is not a record of a step ({line[:60]!r}): repair or remove the file"
      ) from error
    records.append(record)
  return records


def duration(seconds: float) -> str:
  """A readable duration, to two units: 1 d 02 h, 3 h 25 min, 4 min 10 s, 12 s."""
  minutes, s = divmod(round(seconds), 60)
  hours, m = divmod(minutes, 60)
  d, h = divmod(hours, 24)
  if d:
    return f"{d} d {h:02d} h"
  if h:
    return f"{h} h {m:02d} min"
  return f"{m} min {s:02d} s" if m else f"{s} s"


def _event(step: int, **content: Any) -> bytes:
  """TensorBoard's record of one step, with its time."""
  from tensorboardX.proto.event_pb2 import Event

  return Event(wall_time=time.time(), step=int(step), **content).SerializeToString()


def _rate(earlier: tuple[int, float], later: tuple[int, float]) -> float:
  """Steps per second between two (step, seconds); 0 if the clock stood still."""
  seconds = later[1] - earlier[1]
  return (later[0] - earlier[0]) / seconds if seconds > 0 else 0.0


def _keep_until(path: pathlib.Path, step: int) -> None:
  """Drops the lines after `step`, atomically: a kill leaves the old log or the new one."""
  if not path.is_file():
    return

  kept = [record for record in read(path.parent) if step > 0 and record["step"] <= step]
  temporary = path.with_suffix(".jsonl.tmp")
  with temporary.open("w", encoding="utf-8") as file:
    file.writelines(json.dumps(record) + "\n" for record in kept)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)
