"""The log of a run: JSON lines and TensorBoard events, and progress lines on the screen."""

import contextlib
import io
import itertools
import json
import math
import os
import pathlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from PIL import Image

from fal_jax.errors import InputError, cut
from fal_jax.output import bucket, folders, full_disk
from fal_jax.output.folders import write_atomic

NAME = "metrics.jsonl"
COPY_EVERY = 30.0  # s, of the log of a run whose folder is in a bucket


class MetricLog:
  """Appends the metrics of a run to its work directory; checkpoints keep a copy.

  `workdir/metrics.jsonl` holds {"step": 100, "train/loss": 0.01, ...} per line, oldest first; a
  number that is not finite is null there, since JSON cannot express it. `workdir/tensorboard/`
  holds the same scalars for TensorBoard, and what else it shows.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    resume_step: int,
    saved: str | None = None,
    enabled: bool = True,
    also: Callable[[int, Mapping[str, float]], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    echo: Callable[[str], None] = print,
  ):
    """Opens the log and drops what an earlier run wrote after the step from which this one resumes.

    Without that, a run that was killed between two checkpoints would leave the steps it repeats in
    the log twice. What comes before is written anew from the checkpoint if it is not as it was.

    Args:
      workdir: created if missing.
      resume_step: updates already done; 0 for a fresh run, which clears the log.
      saved: `text` as the checkpoint of that step has it; None if it is of an earlier release, then
        the file itself is all there is.
      enabled: False makes a log whose methods touch no file and print nothing. In a run of several
        processes only the first one may write.
      clock: monotonic, s; tests pass their own.
      echo: progress callback, called with each line.

    Raises:
      InputError: without `saved`, if a line of an existing metrics.jsonl, other than a half-written
        last one, is not a record of a step.
    """
    self._enabled = enabled
    self._lines: list[str] = []
    if not enabled:
      return

    # Importing it takes a third of a second, which prediction need not spend.
    from tensorboardX.proto.event_pb2 import SessionLog
    from tensorboardX.record_writer import RecordWriter

    # Where the run's folder is in a bucket, to which nothing can be appended, here and copied.
    self._mirror = bucket.Mirror(folders.locate(workdir), names=[NAME], clock=clock)
    workdir = self._mirror.folder
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / NAME
    text, is_repaired = _kept(path, resume_step, saved)
    if is_repaired:
      echo(f"{path} was damaged or shortened: it is written anew from the checkpoint.")
    write_atomic(path, text)
    self._lines = text.splitlines(keepends=True)
    self._groups = {key for record in _parse(text, where=str(path)) for key in _groups(record)}
    self._file = path.open("ab", buffering=0)
    self._pending = b""  # what a full disk has kept off the file
    board = workdir / "tensorboard"
    board.mkdir(exist_ok=True)
    # Not through SummaryWriter, whose thread dies where the disk is full and is then waited for.
    name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
    self._board = RecordWriter(str(board / name))
    self._board.write(_event(0, file_version="brain.Event:2"))
    # TensorBoard hides the events of an interrupted run from that step on.
    session = SessionLog(status=SessionLog.START)
    self._board.write(_event(resume_step + 1, session_log=session))

    self._also = also
    self._clock = clock
    self._echo = echo
    self._last = (resume_step, clock())
    self._first: tuple[int, float] | None = None

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Records the scalars of one step.

    Args:
      step: updates done.
      metrics: name -> number or array (), e.g. {"train/loss": 0.01} or {"eval/nme_ic": 3.7}.

    Where the disk is full, the next call writes what is missing; `close` raises if none did.
    """
    if not self._enabled:
      return

    values = {name: float(value) for name, value in metrics.items()}
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    record = {"step": int(step), **finite}
    self._lines.append(json.dumps(record, allow_nan=False) + "\n")
    self._groups |= _groups(record)
    self._pending += self._lines[-1].encode()

    from tensorboardX import summary

    scalars = [summary.scalar(name, value).value[0] for name, value in values.items()]
    self._show(_event(step, summary=summary.Summary(value=scalars)))
    self._mirror.copy(not_within=COPY_EVERY)
    if self._also is not None:
      self._also(step, values)

  def save(self) -> None:
    """Sees that what was recorded is in the run's folder, as it must be before a checkpoint is.

    Only in a bucket is it not there already. A kill loses no more than what a resume from the last
    checkpoint records again.
    """
    if self._enabled:
      self._mirror.copy()

  @property
  def text(self) -> str:
    """All lines so far, for a checkpoint; empty in a log that is not enabled.

    A checkpoint that has all of them can repair the file though every earlier one is deleted. It
    costs little: a run of 100,000 steps, logged every 20, has a megabyte at its end, which takes a
    save 5 ms more (Xeon, one core) and a 70th of what two stacks' weights and moments take.
    """
    return "".join(self._lines)

  def holds(self, step: int, group: str) -> bool:
    """Whether a step has values named `group/...`, such as a split's; False if not enabled."""
    return self._enabled and (int(step), group) in self._groups

  def describe(self, config: Mapping[str, Any], *, metrics: Sequence[str]) -> None:
    """Shows TensorBoard what the run was made with, for its table of hyper-parameters.

    Args:
      config: dotted key -> value.
      metrics: names of scalars, of which the table shows the last.
    """
    if not self._enabled:
      return
    from tensorboardX import summary

    plain = {
      key: value if isinstance(value, bool | int | float | str) else str(value)
      for key, value in config.items()
      if value is not None
    }
    experiment, start, _ = summary.hparams(plain, dict.fromkeys(metrics))
    self._show(_event(0, summary=experiment), _event(0, summary=start))

  def worst_faces(self, step: int, directory: pathlib.Path, splits: Sequence[str]) -> None:
    """Shows TensorBoard the sheets of the worst faces, as far as an evaluation has drawn them.

    Args:
      step: updates done.
      directory: where `<split>_worst.jpg` are.
      splits: their names.
    """
    if not self._enabled:
      return
    from tensorboardX import summary

    sheets = {split: directory / f"{split}_worst.jpg" for split in splits}
    for split, path in sheets.items():
      if not path.exists():
        continue
      content = path.read_bytes()
      with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
      shown = summary.Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=content
      )
      value = summary.Summary.Value(tag=f"{split}/worst", image=shown)
      self._show(_event(step, summary=summary.Summary(value=[value])))

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
    """Writes what a full disk has kept off it and closes the files; again, it does nothing.

    Raises:
      OSError: the disk is still full; what was recorded before can be read.
    """
    if not self._enabled or self._file.closed:
      return

    with contextlib.closing(self._mirror), self._file, contextlib.closing(self._board):
      self._catch_up()

  def _show(self, *events: bytes) -> None:
    """Gives TensorBoard these records and the file what it lacks, as far as the disk has room."""
    try:
      self._catch_up()
      for event in events:
        self._board.write(event)
      self._board.flush()
    except OSError as error:
      if full_disk.reason(error) is None:
        raise

  def _catch_up(self) -> None:
    """Appends what is not in the file yet; a killed run keeps what it has logged."""
    while self._pending:  # a disk may have room for a part of it
      written = self._file.write(self._pending)
      self._pending = self._pending[written:]

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
    InputError: it is not text, or another line is not a record of a step.
  """
  path = folders.locate(workdir) / NAME
  return _parse(_complete_lines(path), where=str(path))


def _complete_lines(path: pathlib.Path) -> str:
  """The text of a log, without a last line that a killed process has left without its end.

  Raises:
    InputError: it is not text.
  """
  if not path.is_file():
    return ""
  content = path.read_bytes()
  complete = content[: content.rfind(b"\n") + 1]
  try:
    return complete.decode()
  except UnicodeDecodeError as error:
    number = complete.count(b"\n", 0, error.start) + 1
    raise InputError(f"{path} line {number} is not text: repair or remove the file") from error


def _parse(text: str, *, where: str) -> list[dict[str, Any]]:
  """The records of complete lines.

  Raises:
    InputError: a line is not a record of a step.
  """
  records = []
  for number, line in enumerate(text.split("\n")[:-1], 1):
    try:
      record = json.loads(line)
      record["step"] = int(record["step"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
      raise InputError(
        f"{where} line {number} is not a record of a step ({cut(line)!r}): repair or remove the "
        "file"
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


def _groups(record: Mapping[str, Any]) -> set[tuple[int, str]]:
  """The step of a record with what its names begin with, up to the last slash."""
  return {(record["step"], name.rpartition("/")[0]) for name in record}


def _event(step: int, **content: Any) -> bytes:
  """TensorBoard's record of one step, with its time."""
  from tensorboardX.proto.event_pb2 import Event

  return Event(wall_time=time.time(), step=int(step), **content).SerializeToString()


def _rate(earlier: tuple[int, float], later: tuple[int, float]) -> float:
  """Steps per second between two (step, seconds); 0 if the clock stood still."""
  seconds = later[1] - earlier[1]
  return (later[0] - earlier[0]) / seconds if seconds > 0 else 0.0


def _kept(path: pathlib.Path, step: int, saved: str | None) -> tuple[str, bool]:
  """What stays of a log when a run resumes.

  Args:
    path: metrics.jsonl.
    step: updates done; 0 for a fresh run.
    saved: the text that the checkpoint has; None if it has none.

  Returns:
    The lines up to that step, and whether they are others than the file has. The evaluation of the
    step itself comes after its checkpoint: it stays if the file has it.
  """
  if step == 0 and not saved:
    return "", False
  if saved is None:
    lines = [json.dumps(record) for record in read(path.parent) if record["step"] <= step]
    return "".join(f"{line}\n" for line in lines), False

  try:
    there = _complete_lines(path)
    rest = _parse(there.removeprefix(saved), where=str(path)) if there.startswith(saved) else []
  except InputError:
    return saved, True
  after = itertools.takewhile(lambda record: record["step"] <= step, rest)
  lines = [json.dumps(record) for record in after]
  return saved + "".join(f"{line}\n" for line in lines), not there.startswith(saved)
