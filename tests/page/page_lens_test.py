"""The page's lens: what three decoders read in a landmark's heatmap."""

import numpy as np
import pages
import pytest

pytestmark = pytest.mark.heavy

NOSE_TIP = 30


@pytest.fixture(scope="module")
def opened(visitors):
  with pages.serving() as url:
    yield visitors(url)


@pytest.fixture
def page(opened, visit):
  """The page with two faces found, and no landmark selected."""
  pages.choose(opened, pages.portrait())
  return opened


def readings(page) -> dict[str, np.ndarray]:
  """Reading -> its place in the photo and its distance from ours, as the table says."""
  rows = {}
  for key in ("argmax", "local_softargmax", "calibrated"):
    entry = page.locator(f"[data-reading={key}]")
    place = [float(value) for value in entry.locator(".place").inner_text().split(", ")]
    away = entry.locator(".away").inner_text()
    rows[key] = np.array([*place, 0 if away == "–" else float(away)])
  return rows


def click_landmark(page, face: int, landmark: int) -> None:
  """Clicks where the page draws a landmark."""
  scored = pages.faces(page)[face]
  x, y = scored["landmarks"][landmark]
  x0, y0, x1, _ = scored["box"]
  box = page.locator(".box").nth(face).bounding_box()
  scale = box["width"] / (x1 - x0)
  page.mouse.click(box["x"] + (x - x0) * scale, box["y"] + (y - y0) * scale)


def test_a_click_on_a_point_shows_its_readings_in_the_photo(page):
  click_landmark(page, 0, NOSE_TIP)
  pages.settle(page)

  assert page.locator("#lens select").input_value() == str(NOSE_TIP)
  assert pages.calls(page, "heatmap")[-1] == [pages.FACES[0], NOSE_TIP]
  rows = readings(page)
  # The mock reads the landmark itself as ours, and rounds it to a cell of 4/220 of the box.
  landmark = np.array(pages.faces(page)[0]["landmarks"][NOSE_TIP])
  x0, y0, x1, y1 = pages.FACES[0]
  step, centre = (x1 - x0) * 4 / 220, np.array([x0 + x1, y0 + y1]) / 2
  cell = (np.round((landmark - centre) / step + 31.5) - 31.5) * step + centre
  np.testing.assert_allclose(rows["calibrated"][:2], landmark, atol=0.006)
  np.testing.assert_allclose(rows["argmax"][:2], cell, atol=0.006)
  np.testing.assert_allclose(rows["argmax"][2], np.linalg.norm(cell - landmark), atol=0.006)
  np.testing.assert_allclose(rows["local_softargmax"][:2], 0.8 * landmark + 0.2 * cell, atol=0.006)
  assert page.locator("[data-reading=calibrated] .drawn").is_visible()
  assert not page.locator("[data-reading=argmax] .drawn").is_visible()
  facts = page.locator("#lens-facts").inner_text()
  assert facts.startswith(f"One cell is {step:.2f} px of the photo")


def test_the_lens_follows_the_box_that_is_dragged(page):
  click_landmark(page, 0, NOSE_TIP)
  pages.settle(page)
  before = readings(page)["calibrated"][:2]
  x, y = pages.middle(page, 0)
  pages.drag(page, (x + 20, y + 15), (50, 20))
  page.wait_for_function(
    """() => {
      const last = (name) => globalThis.calls.filter((call) => call[0] === name).at(-1)[1];
      return last("heatmap").join() === last("align")[0].join();
    }"""
  )
  pages.settle(page)

  landmark = pages.faces(page)[0]["landmarks"][NOSE_TIP]
  np.testing.assert_allclose(readings(page)["calibrated"][:2], landmark, atol=0.006)
  assert np.linalg.norm(before - landmark) > 10


def test_cells_are_drawn_where_the_marks_are(page):
  click_landmark(page, 0, NOSE_TIP)
  pages.settle(page)
  page.locator("#lens-photo").uncheck()
  for close in (False, True):
    page.locator("#lens-near").set_checked(close)
    # The centre of mass of what is warm, in cells: red is that of the colours.
    warm = page.evaluate(
      """() => {
        const canvas = document.querySelector("#heatmap");
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        let [sum, x, y] = [0, 0, 0];
        for (let i = 0; i < width * height; ++i) {
          if (data[4 * i] < 130 || data[4 * i + 1] > 140) continue;
          sum += 1; x += i % width; y += Math.floor(i / width);
        }
        return [x / sum, y / sum, width];
      }"""
    )
    x0, y0, x1, y1 = pages.FACES[0]
    landmark = np.array(pages.faces(page)[0]["landmarks"][NOSE_TIP])
    step = (x1 - x0) * 4 / 220
    at = (landmark - np.array([x0 + x1, y0 + y1]) / 2) / step + 31.5
    scale = warm[2] / (16 if close else 64)
    left = np.clip(np.round(at) + 0.5 - 8, 0, 48) if close else 0
    np.testing.assert_allclose(warm[:2], (at + 0.5 - left) * scale, atol=0.6 * scale)


def test_names_and_arrows_choose_a_landmark_too(page):
  page.locator(".box").first.focus()
  page.keyboard.press("]")
  page.locator("#lens select").select_option("51")
  pages.settle(page)
  assert page.locator("#lens-title").inner_text() == "Face 1, landmark 51"
  page.locator("#next-landmark").click()
  pages.settle(page)
  assert page.locator("#lens select").input_value() == "52"
  page.locator("#close-lens").click()
  assert page.locator("#lens-empty").is_visible()


def test_a_point_says_its_name_and_score_under_the_pointer(page):
  scored = pages.faces(page)[0]
  box = page.locator(".box").first.bounding_box()
  scale = box["width"] / (scored["box"][2] - scored["box"][0])
  x, y = np.subtract(scored["landmarks"][NOSE_TIP], scored["box"][:2]) * scale
  page.mouse.move(box["x"] + x + 2, box["y"] + y)
  assert page.locator(".tip").inner_text() == f"30 · nose tip · {scored['scores'][30]:.2f}"
  page.mouse.move(box["x"] - 40, box["y"] - 40)
  assert not page.locator(".tip").is_visible()
