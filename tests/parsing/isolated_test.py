"""The process that reads files: what it may take, and that its end is that of one file."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_dataset

from fal_jax.errors import InputError
from fal_jax.parsing import isolated, limits


def call(function, *args, **options):
  return isolated.call(f"misbehaving:{function}", *args, **options)


def test_values_come_back_as_they_were():
  assert call("echo", 1, None, "ü\udc80", [1, [2.5]], a=True) == [
    1,
    None,
    "ü\udc80",
    [1, [2.5]],
    {"a": True},
  ]
  assert call("length", 3, content=b"12345") == 15

  found = call("arrays")
  np.testing.assert_array_equal(found["numbers"], np.arange(6.0).reshape(2, 3).T)
  assert found["none"].shape == (0, 3) and found["none"].dtype == np.uint8
  assert found["texts"].tolist() == ["ab", "ü"]
  assert found["cells"].shape == (2, 1) and found["cells"][0, 0].item() == "a.jpg"
  assert found["records"].tolist() == [None, None] and found["one"] == 0.5
  assert found["list"] == [[1, None], {"a": True}]
  found["numbers"][0] = 1  # writable


def test_one_process_reads_all_files_whoever_asks():
  with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda number: call("echo", number), range(40)))
  assert answers == [[number] for number in range(40)]
  first = call("number_of_process")
  with pytest.raises(InputError):
    call("refuse", "no")
  assert call("number_of_process") == first != os.getpid()


def test_a_crash_is_an_error_and_the_next_file_is_read():
  before = call("number_of_process")
  with pytest.raises(isolated.Failed, match=r"crashes the library that reads it \(SIGSEGV\)"):
    call("crash")
  assert call("number_of_process") != before


def test_a_process_that_was_killed_between_two_files_is_replaced():
  before = call("number_of_process")
  os.kill(before, signal.SIGKILL)
  os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
  assert call("number_of_process") != before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux limits memory so")
def test_memory_is_limited_for_each_file():
  assert call("take", limits.ISOLATED_BYTES // 2) == limits.ISOLATED_BYTES // 2
  with pytest.raises(isolated.Failed, match=r"takes more than 0\.8 GB of memory"):
    call("take", limits.ISOLATED_BYTES + 2**20)
  assert call("take", limits.ISOLATED_BYTES // 2) == limits.ISOLATED_BYTES // 2


def test_time_is_limited_for_each_file(monkeypatch):
  monkeypatch.setattr(limits, "ISOLATED_SECONDS", 0)  # of computing, rounded up
  with pytest.raises(isolated.Failed, match="takes more than 0 s of computing"):
    call("spin")

  monkeypatch.setattr(limits, "ISOLATED_SECONDS", 5)
  assert call("echo") == []
  monkeypatch.setattr(limits, "ISOLATED_WAIT_SECONDS", 0.2)
  with pytest.raises(isolated.Failed, match=r"takes more than 0\.2 s$"):
    call("sleep")
  monkeypatch.undo()
  assert call("echo") == []


def test_what_a_library_raises_is_one_cut_line():
  with pytest.raises(isolated.Failed, match=r"^OSError: a b$"):
    call("fail", "a\nb.")
  with pytest.raises(isolated.Failed) as caught:
    call("fail", "a" * 70_000)
  assert len(str(caught.value)) <= limits.MAX_MESSAGE
  with pytest.raises(InputError, match=r"^a\.mat is bad\.$"):
    call("refuse", "a.mat is bad.")
  with pytest.raises(isolated.Failed, match="ModuleNotFoundError"):
    isolated.call("nothing_of_this_name:read")


def test_what_libraries_print_is_no_answer():
  assert call("chatter") == "done"
  assert call("echo", 1) == [1]


def test_it_writes_no_file(tmp_path):
  with pytest.raises(isolated.Failed, match="OSError"):
    call("write_file", str(tmp_path / "a"))
  assert not (tmp_path / "a").exists() or not (tmp_path / "a").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
  "kind",
  ["objects", "too large", "left over", "no text", "another kind", "a pickle", "nested"],
)
def test_a_process_that_a_file_has_taken_over_is_not_believed(kind):
  call("hijack", kind)
  with pytest.raises(isolated.Failed, match="answer nonsense"):
    call("echo", 1)
  assert call("echo", 1) == [1]


def test_an_answer_of_any_size_is_not_received(monkeypatch):
  monkeypatch.setattr(limits, "MAX_ANSWER_BYTES", 40)
  with pytest.raises(isolated.Failed, match="more than is read of one file"):
    call("arrays")
  monkeypatch.undo()
  assert call("echo", 1) == [1]


def test_an_interrupted_call_leaves_no_answer_for_the_next(monkeypatch):
  def interrupt(*_):
    raise KeyboardInterrupt

  call("echo")
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(isolated._Process, "_answer", interrupt)
    call("echo", "old")
  assert call("echo", "new") == ["new"]


_FORKS = """
import os
from fal_jax.parsing import isolated

of_parent = isolated.call("misbehaving:number_of_process")
child = os.fork()
found = isolated.call("misbehaving:number_of_process")
assert (found == of_parent) == bool(child)
print(found, flush=True)
if child:
  assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
  assert isolated.call("misbehaving:number_of_process") == of_parent
"""


def test_a_fork_has_a_process_of_its_own_and_none_is_left_behind():
  path = os.pathsep.join([str(tiny_dataset.ROOT), str(tiny_dataset.ROOT / "tests/helpers")])
  done = subprocess.run(
    [sys.executable, "-c", _FORKS],
    env={**os.environ, "PYTHONPATH": path},
    capture_output=True,
    text=True,
    timeout=100,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  first, second = map(int, done.stdout.split())
  assert first != second and not (is_there(first) or is_there(second))


def is_there(process):
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  return True
