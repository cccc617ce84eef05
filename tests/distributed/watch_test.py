"""What a process does about the others' ends, on a store of notes and a clock of the test's own."""

import pytest

from fal_jax.distributed import watch
from fal_jax.distributed.watch import Watch

PATIENCE = 40.0


class Store:
  """Notes that all processes of a test share."""

  def __init__(self):
    self.notes = {}
    self.gone = False

  def key_value_set(self, key, value, allow_overwrite=False):
    assert allow_overwrite or key not in self.notes
    self._reach()
    self.notes[key] = value

  def key_value_dir_get(self, prefix):
    self._reach()
    return [(key, value) for key, value in self.notes.items() if key.startswith(prefix)]

  def _reach(self):
    if self.gone:
      raise RuntimeError("UNAVAILABLE: Socket closed\nmore")


class Clock:
  def __init__(self):
    self.now = 0.0

  def __call__(self):
    self.now += 0.01
    return self.now


@pytest.fixture
def processes(monkeypatch):
  """Three processes: their watches, codes of those that have left, what they said, store, clock."""
  monkeypatch.setattr(watch, "ASK_EVERY", 1e6)  # their threads sleep, the test asks
  monkeypatch.setattr(watch.time, "sleep", lambda _: None)
  store, clock, codes, said = Store(), Clock(), {}, []
  watches = [
    Watch(
      store,
      index=index,
      count=3,
      patience=PATIENCE,
      leave=lambda code, index=index: codes.setdefault(index, code),
      say=said.append,
      clock=clock,
    )
    for index in range(3)
  ]
  monkeypatch.setattr(watch, "ASK_EVERY", 2.0)
  yield watches, codes, said, store, clock
  for each in watches:
    each._closed.set()


def test_all_leave_with_the_code_and_the_sentence_of_the_first_failure(processes):
  watches, codes, said, _, _ = processes
  watches[1].fail(2, "The disk is full:\nmake room.")
  watches[0].ask()
  watches[2].ask()
  assert codes == {0: 2, 1: 2, 2: 2}
  assert said[0] == "process 1: The disk is full:\nmake room."
  assert set(said[1:]) == {
    "process 0: process 1 stopped: The disk is full: make room.",
    "process 2: process 1 stopped: The disk is full: make room.",
  }


def test_a_torn_collective_is_explained_by_the_note_of_who_tore_it(processes):
  watches, codes, said, _, _ = processes
  watches[1].fail(3, "loss became NaN")
  watches[2].fail(75, "another process is gone (Gloo)")
  assert codes == {1: 3, 2: 3}
  assert said[-1] == "process 2: process 1 stopped: loss became NaN"


def test_a_process_without_a_sign_of_life_is_lost_and_the_run_resumable(processes):
  watches, codes, said, _, clock = processes
  for each in watches:
    each.ask()
  for _ in range(4):
    clock.now += PATIENCE * 0.4
    watches[0].ask()
    watches[1].ask()
  assert codes == {0: 75, 1: 75}
  assert "process 2 is gone (no sign of life for 40 s)" in said[0]
  assert "the same command resumes" in said[0]


def test_an_end_that_all_agreed_on_is_no_failure(processes):
  watches, codes, said, _, clock = processes
  for each in watches:
    each.ask()
  watches[2].close()
  for _ in range(4):
    clock.now += PATIENCE * 0.4
    watches[0].ask()
    watches[1].ask()
  assert codes == {} and said == []


def test_without_the_store_process_0_is_gone(processes):
  watches, codes, said, store, _ = processes
  store.gone = True
  watches[1].ask()
  assert codes == {1: 75}
  assert "process 0 is gone (UNAVAILABLE: Socket closed)" in said[0]

  watches[2].fail(75, "Gloo")
  assert codes[2] == 75
  assert said[-1].startswith("process 2: process 0 stopped: it is gone")
