"""The example of scoring/README.md runs word for word."""

import csv
import pathlib
import re
import shlex

import numpy as np
import pytest
from command_line import run_main
from landmark_tables import IDS, SHIFT, make_faces, write_csv

from fal_jax import main
from fal_jax.plots import figure

README = pathlib.Path(main.__file__).parent / "scoring" / "README.md"


@pytest.fixture
def example(monkeypatch):
  """Flags of the command that scores dlib.csv, name -> value."""
  text = README.read_text(encoding="utf-8").replace("\\\n", " ")
  (line,) = re.findall(r"^python -m fal_jax.main (.*dlib.csv.*)$", text, re.MULTILINE)
  monkeypatch.setattr(figure, "has_matplotlib", lambda: False)
  return dict(word.removeprefix("--").partition("=")[::2] for word in shlex.split(line))


def test_the_example_of_the_page_ends_with_its_table(example, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write_csv(tmp_path / "truth.csv", make_faces())
  write_csv(
    tmp_path / "dlib.csv", make_faces()[1:] + SHIFT, [f"/data/me/{name}" for name in IDS[1:]]
  )
  lists = {"predictions", "thresholds"}
  values = {
    name: value.split(",") if name in lists else value or True for name, value in example.items()
  }

  code, out, err = run_main(capsys, **values)

  assert code == 0, err
  head, _, *rows = [line for line in out.splitlines() if line.startswith("|")]
  assert "auc_ic_7" in head
  assert [row.split()[1] for row in rows] == ["dlib", "mean_shape"]
  assert rows[0].split()[3] == "12.50"
  assert "dlib: 1 faces were not found and count as failures" in out
  with (tmp_path / "runs" / "dlib" / "score" / "dlib_errors.csv").open() as file:
    assert np.isinf(float(next(csv.DictReader(file))["nme_ic"]))
