"""What the page saves: JSON that --mode=predict reads again, 300W's .pts, a picture."""

import json

import cv2
import numpy as np
import pages
import pytest

from fal_jax.photos import box_file, pts

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def page(visitors):
  with pages.serving() as url:
    opened = visitors(url)
    pages.choose(opened, pages.portrait())
    yield opened


def test_the_json_has_all_faces_and_how_they_were_made(page, visit):
  name, content = pages.saved(page, page.locator("#save-json"))
  saved = json.loads(content)

  assert name == "portrait.json"
  assert saved["format"] == 1
  assert saved["network"] == {
    "name": "w300-68", "notice": pages.NOTICE, "num_landmarks": 68, "decode": "calibrated",
    "crop_size": 256,
  }  # fmt: skip
  assert saved["detector"] == "mock"
  assert len(saved["names"]) == 68
  (image,) = saved["images"]
  assert (image["id"], image["size"]) == ("portrait.png", [512, 600])
  first, second = image["faces"]
  assert [face["id"] for face in image["faces"]] == ["portrait.png", "portrait.png#1"]
  assert (first["box"], first["box_source"], first["box_score"]) == (
    pages.FACES[0], "detector", 0.95,
  )  # fmt: skip
  assert np.shape(second["landmarks"]) == (68, 2)
  assert first["scores"][:2] == [0.31, 0.802]
  assert first["score"] == pytest.approx(np.mean(first["scores"]), abs=1e-4)


def test_predict_reads_the_boxes_of_the_json_again(page, visit, tmp_path):
  name, content = pages.saved(page, page.locator("#save-json"))
  (tmp_path / name).write_bytes(content)

  rows = box_file.read(tmp_path / name)

  assert [row.image for row in rows] == ["portrait.png"] * 2
  assert [list(row.box) for row in rows] == pages.FACES
  assert [row.id for row in rows] == ["portrait.png", "portrait.png#1"]


def test_a_pts_file_is_the_library_s_to_the_byte(page, visit):
  for number, name in enumerate(("portrait.pts", "portrait#1.pts")):
    saved_as, content = pages.saved(page, page.locator(".save-pts").nth(number))
    landmarks = pages.faces(page)[number]["landmarks"]
    assert saved_as == name
    assert content.decode() == pts.text(np.array(landmarks))


def test_numbers_are_rounded_as_python_rounds_them(page, visit):
  generator = np.random.default_rng(0)
  points = np.concatenate(
    [
      generator.uniform(-50, 5000, (500, 2)),
      # Exactly between two thousandths, where Python goes to the even one.
      generator.integers(-800, 8000, (500, 2)) / 16,
      [[-1.0, -1.0004], [-1.0006, 0.0], [1e6, 1.00049999]],
    ]
  )
  text = page.evaluate(
    "async (points) => (await import('./formats.js')).ptsText(points)", points.tolist()
  )
  assert text.splitlines() == pts.text(points).splitlines()


def test_the_picture_is_the_photo_with_its_faces(page, visit):
  name, content = pages.saved(page, page.locator("#save-picture"))
  picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
  photo = cv2.imdecode(np.frombuffer(pages.portrait()["buffer"], np.uint8), cv2.IMREAD_COLOR)

  assert name == "portrait_landmarks.png"
  assert picture.shape == (600, 512, 3)
  differs = np.abs(picture.astype(int) - photo[..., ::-1]).max(-1) > 24
  rows, columns = np.nonzero(differs)
  boxes = np.array(pages.FACES)
  assert (columns.min(), rows.min()) >= tuple(np.floor(boxes.min(0)[:2]) - 3)
  assert (columns.max(), rows.max()) <= tuple(np.ceil(boxes.max(0)[2:]) + 3)
  # The chin, drawn in the jaw's colour where the page says that it is.
  x, y = np.round(pages.faces(page)[0]["landmarks"][8]).astype(int)
  assert picture[y, x, 2] > 150 > picture[y, x, 0]


def test_of_a_huge_photo_a_smaller_picture_is_saved(visit):
  with pages.serving(scale=0.5) as url:
    page = visit(url)
    pages.choose(page, pages.portrait())
    _, saved = pages.saved(page, page.locator("#save-json"))
    _, content = pages.saved(page, page.locator("#save-picture"))

  (image,) = json.loads(saved)["images"]
  assert image["size"] == [512, 600]
  assert image["faces"][0]["box"] == pages.FACES[0]
  picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
  assert picture.shape == (300, 256, 3)
  x, y = np.round((np.array(image["faces"][0]["landmarks"][8]) + 0.5) / 2 - 0.5).astype(int)
  assert picture[y, x, 2] > 150 > picture[y, x, 0]


def test_what_is_not_shown_is_not_in_the_picture(page, visit):
  for shown in ("points", "lines", "boxes"):
    page.locator(f"[data-show={shown}]").uncheck()
  _, content = pages.saved(page, page.locator("#save-picture"))
  for shown in ("points", "lines", "boxes"):
    page.locator(f"[data-show={shown}]").check()

  picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
  photo = cv2.imdecode(np.frombuffer(pages.portrait()["buffer"], np.uint8), cv2.IMREAD_COLOR)
  np.testing.assert_array_equal(picture, photo)


def test_the_first_landmark_position_is_the_middle_of_the_first_pixel(page, visit):
  place = page.evaluate(
    """async () => {
      const { toStage, toPhoto } = await import("./geometry.js");
      const view = { zoom: 8, x: 100, y: 40 };
      return [toStage(view, [0, 0]), toPhoto(view, [104, 44])];
    }"""
  )
  assert place == [[104, 44], [0, 0]]
