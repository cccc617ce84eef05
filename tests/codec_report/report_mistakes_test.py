"""--mode=codec_report: bad files and configs are refused in a sentence, and nothing is written."""

from pathlib import Path

import numpy as np
import pytest
from codec_reports import config, many_faces, run_report, write_npz

from fal_jax.codec_report import report
from fal_jax.errors import InputError
from fal_jax.scoring import annotations


def faces_with(row: int, value: float) -> np.ndarray:
  """Faces (N, 29, 2), all landmarks of one of which have this value."""
  faces = many_faces()
  faces[row] = value
  return faces


@pytest.mark.parametrize(
  ("arrays", "answer"),
  [
    ({"points": np.zeros((3, 29, 2))}, "has no array `landmarks`"),
    ({}, "has no array `landmarks`"),
    (
      {"landmarks": np.zeros((3, 68, 2))},
      "68 landmarks per face but config.data.markup is 29: set --config.data.markup=68",
    ),
    ({"landmarks": np.zeros((3, 58))}, r"shape \(3, 58\), expected \(faces, landmarks, 2\)"),
    ({"landmarks": np.zeros((0, 29, 2))}, r"shape \(0, 29, 2\), expected"),
    ({"landmarks": np.full((3, 29, 2), "1.5")}, "got <U3"),
    ({"landmarks": 1.0}, r"shape \(\), expected"),
    ({"landmarks": np.array([None, {}])}, "Python objects are not read"),
    ({"landmarks": many_faces(), "names": np.array([{}] * 40)}, "Python objects are not read"),
    ({"landmarks": many_faces(), "names": ["a"]}, "has 1 ids for 40 faces"),
    (
      {"landmarks": faces_with(7, np.nan), "names": [f"f{i}" for i in range(40)]},
      "without a single landmark.*: f7",
    ),
    ({"landmarks": faces_with(7, 3.0)}, "faces.npz, 7: box .* has no area"),
    ({"landmarks": faces_with(7, 1e30)}, "faces.npz has coordinates beyond .* px for face 7"),
    ({"landmarks": many_faces() / 1e5}, "must be in image pixels"),
  ],
)
def test_a_bad_npz_is_refused_in_a_sentence_and_nothing_written(tmp_path, arrays, answer):
  with pytest.raises(InputError, match=answer) as error:
    run_report(tmp_path, write_npz(tmp_path, **arrays))

  assert "\n" not in str(error.value)
  assert len(str(error.value)) < 400
  assert not (tmp_path / "run").exists()


def _bad_files(folder: Path) -> list[Path]:
  """Files that are not an .npz, or a damaged one."""
  good = Path(write_npz(folder, landmarks=many_faces())).read_bytes()
  flipped = bytearray(good)
  flipped[2000] ^= 255
  contents = {
    "text.npz": b"x0,y0\n1,2\n",
    "empty.npz": b"",
    "cut.npz": good[:900],
    "flipped.npz": flipped,
  }
  for name, content in contents.items():
    (folder / name).write_bytes(content)
  (folder / "folder").mkdir()
  return [folder / name for name in (*contents, "folder", "absent.npz")]


def test_files_that_are_not_an_npz_are_refused_in_a_sentence(tmp_path):
  for path in _bad_files(tmp_path):
    with pytest.raises(InputError, match=path.name) as error:
      annotations.read_npz(path, num_landmarks=29)

    assert "\n" not in str(error.value)
    assert "npz" in str(error.value)


@pytest.mark.parametrize(
  ("changes", "answer"),
  [
    ({"crop__size": 90}, "multiple of 4"),
    ({"codec__window": 4}, "codec.window must be odd"),
    ({"data__markup": 30}, "no mark-up has 30 landmarks"),
  ],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path, changes, answer):
  path = write_npz(tmp_path, landmarks=many_faces())

  with pytest.raises(InputError, match=answer):
    run_report(tmp_path, path, **changes)


def test_without_dataset_or_file_both_are_named(tmp_path):
  with pytest.raises(InputError, match="name a prepared dataset and splits, or give --landmarks"):
    run_report(tmp_path, None, data__name="")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
  path = write_npz(tmp_path, landmarks=many_faces(3))
  (tmp_path / "file").touch()

  with pytest.raises(InputError, match="Nothing can be written to --workdir="):
    list(report.run(config(), tmp_path / "file", path, command=""))
