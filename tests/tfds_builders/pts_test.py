"""`.pts` files: what iBUG's tools wrote is read, anything else is refused by name and line."""

import numpy as np
import pytest

from fal_jax.errors import InputError
from tfds_builders.common.pts import read_pts

_EXPECTED = np.array([[93.16766, 107.807529], [-1.0, 0.5], [149.0, 19.0]])
_LINES = "94.167660 108.807529\n0 1.5\n1.5e2 20.\n"
_HEADER = "version: 1\nn_points:  3\n{\n"


@pytest.mark.parametrize(
  "text",
  [
    _HEADER + _LINES + "}",
    _HEADER + _LINES + "}\n",
    _LINES,
    _LINES.rstrip("\n"),
    "version: 1\nn_points: 3\n{\n" + _LINES + "}\n",
    "version:1\nn_points:3\n{\n" + _LINES + "}\n\n \n",
    (_HEADER + _LINES + "}\n").replace("\n", "\r\n"),
    "\ufeff" + _HEADER + _LINES + "}\n",
    "# made by hand\n" + _HEADER + "// jaw\n\n" + _LINES.replace("1.5\n", "1.5   # chin\n") + "}\n",
    _LINES.replace(" ", "\t  "),
  ],
)
def test_genuine_variants_are_read_alike(text, tmp_path):
  path = tmp_path / "image_092 _01.pts"
  path.write_bytes(text.encode())
  landmarks = read_pts(path, num_landmarks=3, origin=1)
  assert landmarks.dtype == np.float64
  np.testing.assert_allclose(landmarks, _EXPECTED, rtol=0, atol=1e-12)
  np.testing.assert_array_equal(read_pts(path, num_landmarks=3, origin=0), landmarks + 1)


def test_one_based_coordinates_point_at_the_right_pixel(tmp_path):
  image = np.zeros((5, 6))
  image[3, 2] = 1  # fourth row, third column: (3, 4) for MATLAB
  path = tmp_path / "dot.pts"
  path.write_text("version: 1\nn_points: 1\n{\n3 4\n}\n")
  ((x, y),) = read_pts(path, num_landmarks=1, origin=1)
  assert image[int(y), int(x)] == 1


@pytest.mark.parametrize(
  ("text", "cause"),
  [
    (_HEADER + _LINES + "7 7\n}\n", "holds 4 landmarks, expected 3"),
    ("1 2\n3 4\n", "holds 2 landmarks, expected 3"),
    ("", "holds 0 landmarks, expected 3"),
    ("version: 1\nn_points: 68\n{\n" + _LINES + "}\n", "header says n_points '68', expected 3"),
    (_HEADER + _LINES, "no closing brace after 3 landmarks, the file is truncated"),
    (_HEADER + _LINES + "}\n1 2\n", "line 8: '1 2' after the closing brace"),
    (_LINES.replace("0 1.5", "nan 1.5"), "line 2: 'nan 1.5' is not a landmark"),
    (_LINES.replace("0 1.5", "0 -inf"), "line 2: '0 -inf' is not a landmark"),
    (_LINES.replace("0 1.5", "1_000 1.5"), "line 2: '1_000 1.5' is not a landmark"),
    (_LINES.replace("0 1.5", "٣ 1.5"), "line 2: '٣ 1.5' is not a landmark"),
    (_LINES.replace("0 1.5", "1e400 1.5"), "line 2: '1e400' is out of range"),
    (_LINES.replace("0 1.5", "0 1.5 2"), "line 2: '0 1.5 2' is not a landmark"),
    (_LINES.replace("0 1.5", "0, 1.5"), "line 2: '0, 1.5' is not a landmark"),
    ("<html>\nlog in\n</html>", "line 1: '<html>' is not a landmark"),
    (b"\xff\xd8\xff\xe0", "is not text in UTF-8 (byte 0 is not"),
  ],
)
def test_bad_files_are_one_sentence_with_name_and_line(text, cause, tmp_path):
  path = tmp_path / "face.pts"
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(InputError) as caught:
    read_pts(path, num_landmarks=3, origin=1)
  assert cause in str(caught.value)
  assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
  with pytest.raises(InputError, match=r"nothing\.pts cannot be read: No such file"):
    read_pts(tmp_path / "nothing.pts", num_landmarks=3, origin=1)
  with pytest.raises(InputError, match="cannot be read: Is a directory"):
    read_pts(tmp_path, num_landmarks=3, origin=1)


def test_a_convention_must_be_named(tmp_path):
  with pytest.raises(InputError, match="origin must be 0 or 1, not 2"):
    read_pts(tmp_path / "face.pts", num_landmarks=3, origin=2)


def test_any_of_several_mark_ups_is_read_and_the_header_decides(tmp_path):
  path = tmp_path / "face.pts"
  for count in (68, 39):
    path.write_text("1 2\n" * count)
    assert read_pts(path, num_landmarks=(68, 39), origin=1).shape == (count, 2)
  path.write_text("version: 1\nn_points: 39\n{\n" + "1 2\n" * 68 + "}")
  with pytest.raises(InputError, match="holds 68 landmarks, expected 39"):
    read_pts(path, num_landmarks=(68, 39), origin=1)

  path.write_text("1 2\n" * 67)
  with pytest.raises(InputError, match="holds 67 landmarks, expected 68 or 39"):
    read_pts(path, num_landmarks=(68, 39), origin=1)
