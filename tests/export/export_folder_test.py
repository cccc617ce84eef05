"""The folder of an export appears whole, or the earlier one stays as it was."""

import functools
import json
import os

import pytest

from fal_jax.errors import InputError
from fal_jax.export import folder

ABOUT = {
  "format": 1,
  "config": {},
  "files": {"model.onnx": {}},
  **dict.fromkeys(("name", "summary", "licence", "notice"), ""),
}


def fill(directory, text):
  """What counts as an export, with a model of these words."""
  (directory / "export.json").write_text(json.dumps(ABOUT))
  (directory / "model.onnx").write_text(text)


@pytest.fixture
def out(tmp_path):
  """An earlier export."""
  out = tmp_path / "out"
  out.mkdir()
  fill(out, "earlier")
  return out


def replaced(out, *, weights):
  return folder.replaced(out, check=functools.partial(folder.check, out, weights=weights))


def test_a_new_export_takes_the_place_of_the_earlier_one_and_leaves_nothing_beside(out):
  with replaced(out, weights="free-68") as unfinished:
    fill(unfinished, "new")
    assert (out / "model.onnx").read_text() == "earlier"
  assert (out / "model.onnx").read_text() == "new"
  assert os.listdir(out.parent) == ["out"]


def test_a_link_to_a_folder_stays_a_link(out, tmp_path):
  link = tmp_path / "link"
  link.symlink_to(out)
  with replaced(link, weights="free-68") as unfinished:
    fill(unfinished, "new")
  assert link.is_symlink() and (out / "model.onnx").read_text() == "new"


def test_an_empty_folder_and_one_that_does_not_exist_are_filled(tmp_path):
  (tmp_path / "empty").mkdir()
  for out in (tmp_path / "empty", tmp_path / "far" / "away"):
    folder.check(out, weights="free-68")
    with replaced(out, weights="free-68") as unfinished:
      fill(unfinished, "new")
    assert (out / "model.onnx").read_text() == "new"


@pytest.mark.parametrize(
  ("error", "sentence"),
  [
    (OSError(28, "No space left on device"), "does not fit on the disk of --out=.*make room"),
    (PermissionError(13, "Permission denied"), r"Nothing can be written to --out=.*\(Permission"),
  ],
)
def test_what_goes_wrong_leaves_the_earlier_export(out, error, sentence):
  with pytest.raises(InputError, match=sentence), replaced(out, weights="x") as unfinished:
    fill(unfinished, "new")
    raise error
  assert (out / "model.onnx").read_text() == "earlier"
  assert os.listdir(out.parent) == ["out"]


def test_files_that_came_while_the_export_was_written_are_not_deleted(out):
  with (
    pytest.raises(InputError, match=r"not of an export \(notes\.txt\)"),
    replaced(out, weights="free-68") as unfinished,
  ):
    fill(unfinished, "new")
    (out / "notes.txt").write_text("mine")
  assert sorted(os.listdir(out)) == ["export.json", "model.onnx", "notes.txt"]
