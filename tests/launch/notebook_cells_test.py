"""The `%%bash` and `%%fal_jax` cells: what they print, keep, show, and how they fail."""

import base64
import importlib
import io
import sys

import notebooks
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
  """The package of the notebooks, in a copy of the repository."""
  pytest.importorskip(
    "IPython", reason="IPython is not installed: pip install 'fal_jax[notebooks]'"
  )
  repository = notebooks.copy_repository(tmp_path_factory.mktemp("cells") / "a copy")
  sys.path.insert(0, str(repository / "launch" / "colab"))
  try:
    cells = importlib.import_module("cells")
    yield cells
    cells.stop()
  finally:
    sys.path.pop(0)
    for name in ("cells", "cells.worker"):
      sys.modules.pop(name, None)


@pytest.fixture
def shown(cells, monkeypatch):
  """What a cell has shown besides text, in its order."""
  shown = []
  monkeypatch.setattr(cells, "display", shown.append)
  return shown


def test_names_stay_and_the_last_value_is_shown(cells, capsys):
  cells.fal_jax("", "a = 20\nprint('ä', end='')")
  cells.fal_jax("", "b = a + 1\nb * 2")
  cells.fal_jax("", "a;")
  cells.fal_jax("", "None")
  assert capsys.readouterr().out == "ä42\n"


def test_an_exception_is_shown_with_its_line_and_ends_the_cell_alone(cells, capsys):
  cells.fal_jax("", "kept = 1")
  with pytest.raises(cells.CellFailed):
    cells.fal_jax("", "print('before')\n1 / 0\nprint('never')")

  out = capsys.readouterr().out
  assert out.startswith("before\nTraceback")
  assert "    1 / 0\n" in out and out.endswith("ZeroDivisionError: division by zero\n")
  assert "worker.py" not in out
  cells.fal_jax("", "kept")
  assert capsys.readouterr().out == "1\n"


@pytest.mark.parametrize("code", ["import sys; sys.exit('enough')", "x = (", "input()"])
def test_other_ends_of_a_cell_fail_it_too_and_the_next_one_runs(cells, capsys, code):
  with pytest.raises(cells.CellFailed):
    cells.fal_jax("", code)
  capsys.readouterr()
  cells.fal_jax("", "'still here'")
  assert capsys.readouterr().out == "'still here'\n"


def test_a_process_that_dies_is_said_to_and_a_new_one_starts(cells, capsys):
  with pytest.raises(cells.CellFailed, match=r"exit code 7.*first cell"):
    cells.fal_jax("", "gone = 1\nimport os\nos._exit(7)")
  with pytest.raises(cells.CellFailed):
    cells.fal_jax("", "gone")
  assert "NameError" in capsys.readouterr().out


def test_pictures_come_with_their_captions_between_what_is_printed(cells, shown, capsys):
  cells.fal_jax("", "import numpy as np\nprint('one')")
  cells.fal_jax("", "show(np.full((4, 6, 3), 7, np.uint8), 'A caption', width=60)\nprint('two')")

  image, caption = shown
  pixels = np.asarray(Image.open(io.BytesIO(image.data)))
  np.testing.assert_array_equal(pixels, np.full((4, 6, 3), 7))
  assert image.width == 60 and caption.data == "*A caption*"
  assert capsys.readouterr().out == "one\ntwo\n"


def test_commands_run_in_the_environment_and_the_first_that_fails_stops_them(cells, capsys):
  cells.bash("", "pwd\ncommand -v python\npython -c 'import fal_jax; print(fal_jax.__file__)'")
  folder, python, package = capsys.readouterr().out.splitlines()
  assert folder == str(cells.ROOT)
  assert python == f"{folder}/.venv/bin/python" and package.startswith(f"{folder}/fal_jax/")

  with pytest.raises(cells.CellFailed, match="exit code 3"):
    cells.bash("", "echo said >&2\n(exit 3) | cat\necho never")
  assert capsys.readouterr().out == "said\n"


def test_a_message_may_arrive_in_pieces_and_a_letter_too(cells, shown, capsys):
  picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
  message = f'\\036{{"image": "{picture}", "caption": "é", "width": null}}\\n'
  pieces = "\n".join(
    f"printf '{piece}'; sleep 0.05" for piece in (*_split(message), "\\303", "\\251")
  )
  cells.bash("", pieces)
  assert shown[1].data == "*é*"
  assert capsys.readouterr().out == "é"


def _split(text):
  """Three pieces, none of which begins within an escape of printf."""
  return text[:20], text[20:40], text[40:]
