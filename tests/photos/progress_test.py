"""How far it is: a bar on a terminal, a line now and then in a log."""

import io
import sys

import pytest

from fal_jax.photos import progress


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_log_gets_a_line_every_ten_seconds_with_rate_and_time_left(capsys):
  """The first frame takes 20 s, for compilation, and each further one 3 s."""
  times = iter([0.0, 0.0, *(20.0 + 3 * number for number in range(100))])

  items = list(progress.progress(range(12), unit="frames", total=12, clock=lambda: next(times)))

  assert items == list(range(12))
  assert capsys.readouterr().err.splitlines() == [
    "2/12 frames  17 %  0.3 frames/s  left 30 s",
    "6/12 frames  50 %  0.3 frames/s  left 18 s",
    "10/12 frames  83 %  0.3 frames/s  left 6 s",
  ]


@pytest.mark.parametrize("total", [None, 3])
def test_without_a_total_or_with_a_wrong_one_the_line_says_what_is_known(total):
  assert progress.line(7, total, "frames", 2.0) == "7 frames  2.0 frames/s"


def test_a_terminal_gets_a_bar_with_rate_and_no_lines(monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(sys, "stderr", terminal)

  assert list(progress.progress("abc", unit="photos", total=3)) == ["a", "b", "c"]

  shown = terminal.getvalue()
  assert "3/3" in shown and "photos/s" in shown and "\n" not in shown.rstrip("\n")


def test_what_is_said_above_a_bar_stands_on_lines_of_its_own(capsys):
  progress.say("Skipped: a.jpg")

  assert capsys.readouterr().out == "Skipped: a.jpg\n"
