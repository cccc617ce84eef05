"""Sheets of faces: landmarks where they belong, images untouched, mistakes answered in words."""

import drawings
import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.plots import sheets

BLUE = (0, 0, 255)
GREEN = (64, 255, 128)
MAGENTA = (255, 40, 200)


def blue_image(height: int = 60, width: int = 80) -> np.ndarray:
  return np.full((height, width, 3), BLUE, np.uint8)


def unknown(n: int = 1) -> np.ndarray:
  """(n, 19, 2) landmarks, none of them known."""
  return np.full((n, 19, 2), np.nan)


def draw(path, images, true, pred, **changes) -> np.ndarray:
  """Pixels of a sheet in one column, without titles unless changed."""
  options = {"markup": 19, "titles": [""] * len(images), "columns": 1, **changes}
  sheets.draw_faces(path, images, true, pred, **options)
  return drawings.read_rgb(path)


def image_corners(sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rows and columns of the sheet where a blue image begins."""
  blue = drawings.where(sheet, BLUE, 0)
  starts = [
    np.flatnonzero(np.diff((blue.mean(axis) > 0.2).astype(int), prepend=0) == 1) for axis in (1, 0)
  ]
  return starts[0], starts[1]


@pytest.mark.parametrize("which", ["true", "pred"])
@pytest.mark.parametrize("at", [(20.0, 30.0), (33.25, 17.75), (50.5, 40.5)])
def test_a_landmark_is_drawn_at_its_sub_pixel_position(tmp_path, which, at):
  points = {"true": unknown(), "pred": unknown()}
  points[which][0, 7] = at

  sheet = draw(tmp_path / "s.png", [blue_image()], **points, scale=4)

  (top,), (left,) = image_corners(sheet)
  inside = sheet[top : top + 240, left : left + 320]
  ys, xs = np.nonzero(drawings.where(inside, GREEN if which == "true" else MAGENTA))
  centre = (np.array([xs.mean(), ys.mean()]) + 0.5) / 4 - 0.5
  np.testing.assert_allclose(centre, at, atol=0.15)
  assert not drawings.where(inside, MAGENTA if which == "true" else GREEN).any()


def test_edges_join_only_predicted_landmarks_that_are_known(tmp_path):
  pred = unknown()
  pred[0, [6, 7]] = (10, 30), (40, 30)  # joined in the mark-up
  pred[0, 0] = (10, 10)  # joined to 1, which is unknown
  true = unknown()
  true[0, [9, 10]] = (10, 50), (40, 50)  # annotations are not joined

  sheet = draw(tmp_path / "s.png", [blue_image()], true, pred)

  (top,), (left,) = image_corners(sheet)
  corner = sheet[top : top + 15, left : left + 15]
  assert drawings.where(corner, BLUE, 0).all()  # no line from 0 to the corner
  middle = sheet[top : top + 120, left + 50]
  changed = np.flatnonzero(np.abs(middle - BLUE).sum(-1) > 60)
  assert changed.size
  np.testing.assert_allclose((changed.mean() + 0.5) / 2 - 0.5, 30, atol=0.5)


def test_images_stand_in_rows_and_keep_their_colours(tmp_path):
  images = np.stack([blue_image()] * 5)
  path = tmp_path / "new" / "folder" / "s.png"

  sheet = draw(path, images, None, unknown(5), titles=list("abcde"), columns=3)

  rows, columns = image_corners(sheet)
  assert (len(rows), len(columns)) == (2, 3)
  assert sheet.shape[1] >= 3 * 160
  for i in range(5):
    cell = sheet[rows[i // 3] :, columns[i % 3] :][:120, :160]
    assert drawings.where(cell, BLUE, 0).all()
  assert not drawings.where(sheet[rows[1] :, columns[2] :], BLUE, 0).any()


def test_the_legend_names_the_annotation_only_where_there_is_one(tmp_path):
  face = np.tile([10.0, 10.0], (1, 19, 1))

  headers = {
    name: draw(tmp_path / f"{name}.png", [blue_image()], true, face)[:38]
    for name, true in (("with", face), ("without", None))
  }

  assert drawings.where(headers["with"], GREEN).any()
  assert not drawings.where(headers["without"], GREEN).any()
  assert all(drawings.where(header, MAGENTA).any() for header in headers.values())


def test_a_long_title_is_cut_at_its_front_and_stays_over_its_image(tmp_path):
  images = [blue_image()] * 2
  sheet = draw(tmp_path / "s.png", images, None, unknown(2), titles=["W" * 500, ""], columns=2)

  (top,), (left, right) = image_corners(sheet)
  strip = sheet[top - 22 : top].max(-1) > 100
  assert strip[:, left : left + 160].any()
  assert not strip[:, right:].any()


def test_predictions_far_outside_the_image_can_be_drawn(tmp_path):
  pred = np.tile([1e12, -1e12], (1, 19, 1))
  pred[0, :3] = np.nan, np.inf

  draw(tmp_path / "s.png", [blue_image()], pred, pred)

  assert (tmp_path / "s.png").is_file()


def test_inputs_are_left_unchanged(tmp_path):
  image = blue_image()
  pred = np.tile([30.0, 30.0], (1, 19, 1))

  draw(tmp_path / "s.png", [image], None, pred)

  np.testing.assert_array_equal(image, blue_image())
  np.testing.assert_array_equal(pred, 30)


def test_mistakes_on_a_sheet_are_answered_with_what_was_got_and_expected(tmp_path):
  image = blue_image()
  path = tmp_path / "s.png"

  with pytest.raises(InputError, match=r"pred has shape \(2, 19, 2\).*expected \(1, 19, 2\)"):
    draw(path, [image], None, unknown(2))
  with pytest.raises(InputError, match=r"true \(1, 68, 2\)"):
    draw(path, [image], np.zeros((1, 68, 2)), unknown())
  with pytest.raises(InputError, match="there are 2 titles"):
    draw(path, [image], None, unknown(), titles=["a", "b"])

  for images in ([], [image, image[1:]], [image / 255], [image[..., 0]]):
    with pytest.raises(InputError, match="at least one image, all uint8 of one shape"):
      draw(path, images, None, unknown(len(images)))
  assert not path.exists()


def test_sheets_need_no_matplotlib(tmp_path, monkeypatch):
  drawings.hide_matplotlib(monkeypatch)
  draw(tmp_path / "s.png", [blue_image()], None, unknown())
  assert (tmp_path / "s.png").is_file()
