"""What happens to the other processes: the reason of the first failure ends all, and silence too.

A process that fails leaves its exit code and sentence with JAX's coordination service before it
goes. On CPUs the others' collectives then fail, on accelerators they wait for ever: a thread asks
for such notes, and for signs of life, and ends its process.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from fal_jax.errors import Interrupted

ASK_EVERY = 2.0  # s
# So long process 0, at which the notes are kept, waits for the others to read them.
FAREWELL = 10.0  # s

_ENDS = "fal_jax/end/"
_BEATS = "fal_jax/beat/"


class End(NamedTuple):
  """How a process ended.

  Attributes:
    code: its exit code.
    sentence: why; empty for an end that all processes agreed on.
  """

  code: int
  sentence: str


class Watch:
  """Watches the other processes of a run from a thread, until `close`."""

  def __init__(
    self,
    client: Any,
    *,
    index: int,
    count: int,
    patience: float,
    leave: Callable[[int], Any] = os._exit,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts watching.

    Args:
      client: of JAX's coordination service: a store of text by name, shared by all processes.
      index: number of this process.
      count: how many there are.
      patience: s without a sign of life after which a process is lost.
      leave: ends this process with an exit code, whatever its threads do.
      say: called with the sentence that explains it.
      clock: monotonic, s.
    """
    self._client = client
    self._index = index
    self._count = count
    self._patience = patience
    self._leave = leave
    self._say = say
    self._clock = clock
    now = clock()  # all are there: from now on, each must be heard of
    self._heard = {f"{_BEATS}{number}": ("", now) for number in range(count)}
    self._beats = 0
    self._closed = threading.Event()
    self._answered = now
    for loop in (self._run, self._run_beside)[: 2 if index else 1]:
      threading.Thread(target=loop, daemon=True, name="watch").start()

  def fail(self, code: int, sentence: str) -> None:
    """Ends this process after an exception of its own, or of the collective that another left.

    Args:
      code: exit code for an exception of its own.
      sentence: what it says.
    """
    self._closed.set()
    first = self._first_end(wait=ASK_EVERY) if code not in (2, 3) else None
    if first is not None:
      self._explain(*first)
      code = first[1].code
    else:
      self._leave_note(End(code, sentence))
      self._say(f"process {self._index}: {sentence}")
    if self._index == 0:
      self._wait_for_farewells()
    self._leave(code)

  def close(self) -> None:
    """Stops watching at an end that all processes agreed on, and says so to the others."""
    self._leave_note(End(0, ""))
    self._closed.set()

  def ask(self) -> None:
    """Asks once, and ends this process if another has failed or is lost."""
    try:
      self._beats += 1
      self._client.key_value_set(f"{_BEATS}{self._index}", str(self._beats), True)
      beats = dict(self._client.key_value_dir_get(_BEATS))
      ends = self._ends()
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, process 0 is gone
      if not self._closed.is_set():
        self._lost("process 0", str(error).split("\n", maxsplit=1)[0])
      return

    self._answered = self._clock()
    failed = {index: end for index, end in ends.items() if end.sentence and index != self._index}
    if failed:
      self._explain(*next(iter(failed.items())))
      self._leave_note(End(Interrupted.exit_code, ""))
      self._leave(next(iter(failed.values())).code)
      return

    now = self._clock()
    for key, beat in beats.items():
      if self._heard[key][0] != beat:
        self._heard[key] = (beat, now)
    silent = [
      int(key.removeprefix(_BEATS))
      for key, (_, heard) in self._heard.items()
      if now - heard > self._patience
    ]
    for index in silent:
      if index != self._index and index not in ends:
        self._lost(f"process {index}", f"no sign of life for {self._patience:.0f} s")
        return

  def _run(self) -> None:
    while not self._closed.wait(ASK_EVERY):
      self.ask()

  def _run_beside(self) -> None:
    """Sees that process 0, at which the notes are, answers: where it stands still, `ask` waits."""
    while not self._closed.wait(ASK_EVERY):
      if self._clock() - self._answered > self._patience:
        self._lost("process 0", f"no answer for {self._patience:.0f} s")

  def _lost(self, who: str, why: str) -> None:
    self._say(
      f"process {self._index}: {who} is gone ({why}); nothing is lost but the steps since the "
      "last checkpoint: the same command resumes from there."
    )
    self._leave(Interrupted.exit_code)

  def _explain(self, index: int, end: End) -> None:
    self._say(f"process {self._index}: process {index} stopped: {end.sentence}")

  def _ends(self) -> dict[int, End]:
    """The notes of processes that have ended, the earliest number first."""
    notes = sorted(self._client.key_value_dir_get(_ENDS))
    ends = {}
    for key, note in notes:
      code, _, sentence = note.partition(" ")
      ends[int(key.removeprefix(_ENDS))] = End(int(code), sentence)
    return ends

  def _first_end(self, *, wait: float) -> tuple[int, End] | None:
    """The failure of another process, if there is one; the note may come a moment later."""
    until = self._clock() + wait
    while True:
      try:
        ends = self._ends()
      except Exception:  # noqa: BLE001 - process 0 is gone, and the notes with it
        return 0, End(Interrupted.exit_code, "it is gone; the same command resumes.")
      for index, end in ends.items():
        if end.sentence and index != self._index:
          return index, end
      if self._clock() >= until:
        return None
      time.sleep(0.1)

  def _leave_note(self, end: End) -> None:
    try:
      note = f"{end.code} {' '.join(end.sentence.split())}"
      self._client.key_value_set(f"{_ENDS}{self._index}", note, True)
    except Exception:  # noqa: BLE001 - nobody is left to read it
      return

  def _wait_for_farewells(self) -> None:
    until = self._clock() + FAREWELL
    while self._clock() < until and len(self._ends()) < self._count:
      time.sleep(0.1)
