"""MATLAB files: variables as they are, and one sentence for every other file."""

import h5py
import numpy as np
import pytest
import scipy.io

from fal_jax.errors import InputError
from tfds_builders.common.mat import numbers, read_mat

BOXES = np.random.default_rng(0).uniform(size=(20, 4))


@pytest.fixture
def genuine(tmp_path):
  """A file with a matrix, a cell of texts, a row and something that nobody asks for."""
  cells = np.empty((2, 1), object)
  cells[:, 0] = ["0/image1.jpg", "2/image2.jpg"]
  path = tmp_path / "info.mat"
  scipy.io.savemat(
    path,
    {"nameList": cells, "ra": [[2, 1]], "rest": np.zeros(9), "bbox": BOXES},
    do_compression=True,
  )
  return path


def test_variables_come_as_matlab_shows_them(genuine):
  found = read_mat(genuine, ["bbox", "nameList", "ra"])
  assert sorted(found) == ["bbox", "nameList", "ra"]
  np.testing.assert_array_equal(found["bbox"], BOXES)
  assert [cell.item() for cell in found["nameList"][:, 0]] == ["0/image1.jpg", "2/image2.jpg"]
  assert found["ra"].shape == (1, 2)


@pytest.mark.parametrize("version", ["4", "5"])
def test_old_versions_are_read(tmp_path, version):
  scipy.io.savemat(tmp_path / "a.mat", {"x": np.eye(3)}, format=version)
  np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", ["x"])["x"], np.eye(3))


def version_73(path):
  with h5py.File(path, "w", userblock_size=512) as file:
    file["bbox"] = np.eye(3)
  with path.open("r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def pickled(path):
  with path.open("wb") as file:
    np.save(file, np.array([{}]), allow_pickle=True)


BAD = {
  "absent": (lambda path: path.unlink(), "cannot be read: No such file"),
  "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
  "empty": (lambda path: path.write_bytes(b""), "is empty"),
  "login page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
  "text": (lambda path: path.write_text("1 2 3\n" * 100), "not a readable MATLAB file"),
  "zeros": (lambda path: path.write_bytes(bytes(1000)), "not a readable MATLAB file|no variable"),
  "header only": (lambda path: path.write_bytes(path.read_bytes()[:128]), "no variable|truncated"),
  "header cut": (
    lambda path: path.write_bytes(path.read_bytes()[:100]),
    "not a readable MATLAB file|truncated",
  ),
  "cut": (lambda path: path.write_bytes(path.read_bytes()[:600]), "truncated"),
  "last byte missing": (
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "truncated|no variable",
  ),
  "flipped": (
    lambda path: path.write_bytes(path.read_bytes()[:150] + b"\xff" * 40 + path.read_bytes()[190:]),
    "truncated",
  ),
  "version 7.3": (version_73, "MATLAB 7.3 file, expected version 5"),
  "a zip": (
    lambda path: path.write_bytes(b"PK\x03\x04" + bytes(300)),
    "not a readable MATLAB file",
  ),
  "an image": (
    lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(300)),
    "not a readable MATLAB file|truncated",
  ),
  "another file": (
    lambda path: scipy.io.savemat(path, {"points": [1]}),
    "no variable 'bbox'; it has points",
  ),
  "nothing in it": (lambda path: scipy.io.savemat(path, {}), "no variable 'bbox'; it has none"),
  "pickled": (pickled, "not a readable MATLAB file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_any_other_file_is_one_sentence(genuine, kind):
  spoil, expected = BAD[kind]
  spoil(genuine)
  with pytest.raises(InputError, match=expected) as raised:
    read_mat(genuine, ["bbox"])
  assert str(genuine) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("value", "expected"),
  [
    (np.zeros((2, 3)), r"bbox of a.mat is 2 x 3, expected any x 4"),
    (np.zeros(4), r"is 4, expected any x 4"),
    (np.array([["a"] * 4]), "holds <U1, expected numbers"),
    (np.zeros((1, 4), complex), "holds complex128, expected numbers"),
    (np.empty((1, 4), object), "holds object, expected numbers"),
  ],
)
def test_a_matrix_is_checked(value, expected):
  with pytest.raises(InputError, match=expected):
    numbers(value, (None, 4), what="bbox of a.mat")
  assert numbers(np.ones((2, 4), np.int16), (None, 4), what="bbox").dtype == np.float64
