"""Pictures: written where asked, landmarks where they belong, mistakes answered in words."""

import sys

import numpy as np
import pytest
from PIL import Image

from fal_jax.errors import InputError
from fal_jax.plots import curves as plots

BLUE, GREEN, MAGENTA = (0, 0, 255), (64, 255, 128), (255, 40, 200)


def _blue_image(height: int = 60, width: int = 80) -> np.ndarray:
  return np.full((height, width, 3), BLUE, np.uint8)


def _nowhere(n: int = 1) -> np.ndarray:
  return np.full((n, 19, 2), np.nan)


def _sheet(path) -> np.ndarray:
  with Image.open(path) as picture:
    return np.asarray(picture.convert("RGB")).astype(int)


def _is(sheet: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
  return (np.abs(sheet - colour) <= tolerance).all(-1)


def _cells(sheet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rows and columns of the sheet where a blue image begins."""
  blue = _is(sheet, BLUE, 0)
  rows, columns = blue.mean(1) > 0.2, blue.mean(0) > 0.2
  return np.flatnonzero(np.diff(rows.astype(int), prepend=0) == 1), np.flatnonzero(
    np.diff(columns.astype(int), prepend=0) == 1
  )


@pytest.mark.parametrize("which", ["true", "pred"])
@pytest.mark.parametrize("at", [(20.0, 30.0), (33.25, 17.75), (50.5, 40.5)])
def test_a_landmark_is_drawn_at_its_sub_pixel_place(tmp_path, which, at):
  points = {"true": _nowhere(), "pred": _nowhere()}
  points[which][0, 7] = at
  plots.draw_faces(
    tmp_path / "s.png", [_blue_image()], **points, markup=19, titles=[""], columns=1, scale=4
  )
  sheet = _sheet(tmp_path / "s.png")
  (top,), (left,) = _cells(sheet)
  inside = sheet[top : top + 240, left : left + 320]
  ys, xs = np.nonzero(_is(inside, GREEN if which == "true" else MAGENTA))
  centre = (np.array([xs.mean(), ys.mean()]) + 0.5) / 4 - 0.5
  np.testing.assert_allclose(centre, at, atol=0.15)
  assert not _is(inside, MAGENTA if which == "true" else GREEN).any()


def test_edges_join_predicted_landmarks_and_only_those_there_are(tmp_path):
  pred, true = _nowhere(), _nowhere()
  pred[0, [6, 7]] = (10, 30), (40, 30)  # joined in the mark-up
  pred[0, 0] = (10, 10)  # joined to 1, which is not there
  true[0, [9, 10]] = (10, 50), (40, 50)  # annotations are not joined
  plots.draw_faces(
    tmp_path / "s.png", [_blue_image()], true, pred, markup=19, titles=[""], columns=1
  )
  sheet = _sheet(tmp_path / "s.png")
  (top,), (left,) = _cells(sheet)
  assert _is(sheet[top : top + 15, left : left + 15], BLUE, 0).all()  # no line from 0 to the corner
  middle = sheet[top : top + 120, left + 50]
  changed = np.flatnonzero(np.abs(middle - BLUE).sum(-1) > 60)
  assert changed.size
  np.testing.assert_allclose((changed.mean() + 0.5) / 2 - 0.5, 30, atol=0.5)


def test_images_stand_in_rows_and_keep_their_colours(tmp_path):
  images = np.stack([_blue_image()] * 5)
  path = tmp_path / "new" / "folder" / "s.png"
  plots.draw_faces(path, images, None, _nowhere(5), markup=19, titles=list("abcde"), columns=3)
  sheet = _sheet(path)
  rows, columns = _cells(sheet)
  assert (len(rows), len(columns)) == (2, 3)
  assert sheet.shape[1] >= 3 * 160
  for i in range(5):
    cell = sheet[rows[i // 3] :, columns[i % 3] :][:120, :160]
    assert _is(cell, BLUE, 0).all()
  assert not _is(sheet[rows[1] :, columns[2] :], BLUE, 0).any()


def test_the_legend_names_the_annotation_only_where_there_is_one(tmp_path):
  face = np.tile([10.0, 10.0], (1, 19, 1))
  for name, true in (("with", face), ("without", None)):
    plots.draw_faces(
      tmp_path / f"{name}.png", [_blue_image()], true, face, markup=19, titles=[""], columns=1
    )
  header = {name: _sheet(tmp_path / f"{name}.png")[:38] for name in ("with", "without")}
  assert _is(header["with"], GREEN).any()
  assert not _is(header["without"], GREEN).any()
  assert all(_is(part, MAGENTA).any() for part in header.values())


def test_a_long_title_is_cut_at_its_front_and_stays_over_its_image(tmp_path):
  plots.draw_faces(
    tmp_path / "s.png",
    [_blue_image()] * 2,
    None,
    _nowhere(2),
    markup=19,
    titles=["W" * 500, ""],
    columns=2,
  )
  sheet = _sheet(tmp_path / "s.png")
  (top,), (left, right) = _cells(sheet)
  strip = sheet[top - 22 : top].max(-1) > 100
  assert strip[:, left : left + 160].any()
  assert not strip[:, right:].any()


def test_predictions_far_outside_the_image_are_no_obstacle(tmp_path):
  pred = np.tile([1e12, -1e12], (1, 19, 1))
  pred[0, :3] = np.nan, np.inf
  plots.draw_faces(
    tmp_path / "s.png", [_blue_image()], pred, pred, markup=19, titles=[""], columns=1
  )
  assert (tmp_path / "s.png").is_file()


def test_inputs_are_left_as_they_were(tmp_path):
  image, pred = _blue_image(), np.tile([30.0, 30.0], (1, 19, 1))
  plots.draw_faces(tmp_path / "s.png", [image], None, pred, markup=19, titles=[""], columns=1)
  np.testing.assert_array_equal(image, _blue_image())
  np.testing.assert_array_equal(pred, 30)


def test_mistakes_on_a_sheet_are_answered_with_what_was_got_and_expected(tmp_path):
  image = _blue_image()

  def draw(images, true, pred, titles=("",)):
    plots.draw_faces(tmp_path / "s.png", images, true, pred, markup=19, titles=titles, columns=1)

  with pytest.raises(InputError, match=r"pred has shape \(2, 19, 2\).*expected \(1, 19, 2\)"):
    draw([image], None, _nowhere(2))
  with pytest.raises(InputError, match=r"true \(1, 68, 2\)"):
    draw([image], np.zeros((1, 68, 2)), _nowhere())
  with pytest.raises(InputError, match="there are 2 titles"):
    draw([image], None, _nowhere(), ["a", "b"])
  for images in ([], [image, image[1:]], [image / 255], [image[..., 0]]):
    with pytest.raises(InputError, match="at least one image, all uint8 of one shape"):
      draw(images, None, _nowhere(len(images)), [""] * len(images))
  assert not (tmp_path / "s.png").exists()


def test_the_error_curve_rises_where_the_errors_are(tmp_path):
  plots.draw_ced(tmp_path / "new" / "ced.png", {"a": np.full(50, 4.0)}, norm="ic", max_error=8)
  sheet = _sheet(tmp_path / "new" / "ced.png")
  assert sheet.shape == (690, 960, 3)
  curve = _is(sheet, (0, 0x72, 0xB2), 10)
  xs = np.flatnonzero(curve.any(0))
  rise = curve.sum(0).argmax()
  assert curve[:, rise].mean() > 0.7  # one step from 0 to 100 %
  assert rise == pytest.approx((xs[0] + xs[-1]) / 2, abs=4)  # at 4 % of 8 %


def test_several_curves_and_any_normaliser_can_be_drawn(tmp_path):
  errors = {f"model {i}": np.random.default_rng(i).gamma(2, 1 + i, 30) for i in range(9)}
  for norm in ("ip", "box", "diag", "the head's height"):
    plots.draw_ced(tmp_path / "ced.svg", errors, norm=norm, max_error=7)
    assert (tmp_path / "ced.svg").read_text().lstrip().startswith("<?xml")


def test_an_error_that_is_nan_is_not_drawn_over(tmp_path):
  with pytest.raises(InputError, match="NaN"):
    plots.draw_ced(tmp_path / "ced.png", {"a": [1.0, np.nan]}, norm="ic", max_error=8)


def _codec_report(path, errors, **changes):
  x = np.geomspace(1, 100, 50)
  arguments = {
    "norm": "box",
    "temperatures": x,
    "heatmap_px": 0.1 + np.log(x / 8) ** 2,
    "marks": {"here": (8.0, 0.1)},
    "titles": ("left", "right"),
    **changes,
  }
  plots.draw_codec_report(path, errors, **arguments)
  return _sheet(path)


def test_codecs_have_a_curve_each_at_its_error_and_share_it_where_they_agree(tmp_path):
  errors = {
    "a": np.full(30, 10.0),
    "b": np.full(30, 0.1),
    "a again": np.full(30, 10.05),
    "c": np.full(30, 1.0),
  }
  sheet = _codec_report(tmp_path / "new" / "r.png", errors)
  left = sheet[:, :800]
  blue, orange = _is(left, (0, 0x72, 0xB2), 10), _is(left, (0xD5, 0x5E, 0), 10)
  heights = [np.median(np.nonzero(curve)[0]) for curve in (blue, orange)]
  black = np.flatnonzero(
    (left.sum(-1) < 60).mean(1) > 0.4
  )  # rows with a long black line: the first curve
  assert (heights[0] - heights[1]) == pytest.approx(
    heights[1] - black[0], abs=8
  )  # one decade each: 0.1, 1 and 10
  assert not _is(left, (0, 0x9E, 0x73), 10).any()  # there is no fourth curve


def test_one_face_and_flat_or_steep_curves_can_be_drawn(tmp_path):
  for number, values in enumerate(([3.0], [1e-7, 20.0])):
    sheet = _codec_report(
      tmp_path / f"{number}.png", {"a": values, "b": [0.5]}, heatmap_px=np.full(50, 0.3)
    )
    assert sheet.shape == (750, 1875, 3)
  with pytest.raises(InputError, match="no error of any face to draw for 'a'"):
    _codec_report(tmp_path / "none.png", {"a": []})


def test_a_learning_curve_has_one_panel_per_name_and_passes_over_gaps(tmp_path):
  steps = np.arange(1, 101)
  values = {
    "loss": 1 / steps,
    "nme": [None, *np.linspace(9, 4, 98), np.nan],
    "never": np.full(100, np.nan),
  }
  heights = []
  for names in (["loss"], ["loss", "nme"], ["loss", "nme", "never"]):
    plots.draw_learning_curve(tmp_path / "l.png", steps, {name: values[name] for name in names})
    sheet = _sheet(tmp_path / "l.png")
    heights.append(sheet.shape[0])
  assert np.diff(heights).tolist() == [315, 315]
  assert _is(sheet, (0, 0x72, 0xB2), 10).any()
  assert _is(sheet, (0xD5, 0x5E, 0), 10).any()


def test_a_learning_curve_needs_one_value_per_step(tmp_path):
  with pytest.raises(InputError, match=r"loss has shape \(2,\) but steps \(3,\)"):
    plots.draw_learning_curve(tmp_path / "l.png", [1, 2, 3], {"loss": [1, 2]})
  with pytest.raises(InputError, match="no values"):
    plots.draw_learning_curve(tmp_path / "l.png", [1, 2, 3], {})


def test_without_matplotlib_curves_say_what_to_install_and_sheets_still_work(tmp_path, monkeypatch):
  for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] + ["matplotlib"]:
    monkeypatch.setitem(sys.modules, name, None)
  for draw in (
    lambda: plots.draw_ced(tmp_path / "c.png", {"a": [1.0]}, norm="ic", max_error=8),
    lambda: plots.draw_learning_curve(tmp_path / "c.png", [1], {"loss": [1]}),
    lambda: _codec_report(tmp_path / "c.png", {"a": [1.0]}),
  ):
    with pytest.raises(InputError, match=r"pip install 'fal_jax\[demo\]'"):
      draw()
  plots.draw_faces(
    tmp_path / "s.png", [_blue_image()], None, _nowhere(), markup=19, titles=[""], columns=1
  )
  assert (tmp_path / "s.png").is_file()
