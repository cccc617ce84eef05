"""Boxes of the page: dragged, resized, drawn and walked through by keys; points follow."""

import numpy as np
import pages
import pytest

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def url():
  with pages.serving(delay_ms=30) as address:
    yield address


@pytest.fixture(scope="module")
def opened(url, visitors):
  return visitors(url)


@pytest.fixture
def page(opened, visit):
  """The page with two faces found."""
  pages.choose(opened, pages.portrait())
  return opened


def zoom(page) -> float:
  """Window px per photo px."""
  box = page.locator(".box").first.bounding_box()
  return box["width"] / (pages.FACES[0][2] - pages.FACES[0][0])


def test_points_follow_a_box_that_is_dragged(page):
  before = pages.faces(page)
  scale = zoom(page)
  x, y = pages.middle(page, 0)
  first = len(pages.calls(page, "align"))

  # Beside the nose: a press on a landmark that moves is a drag as well.
  pages.drag(page, (x + 20, y + 15), (60, -30), steps=25)
  pages.settle(page)
  after = pages.faces(page)

  moved = np.array([60, -30]) / scale
  np.testing.assert_allclose(
    after[0]["box"], np.array(pages.FACES[0]) + np.tile(moved, 2), atol=0.01
  )
  np.testing.assert_allclose(
    np.subtract(after[0]["landmarks"], before[0]["landmarks"]), np.tile(moved, (68, 1)), atol=0.01
  )
  assert after[0]["box_source"] == "hand"
  assert after[1] == before[1]

  asked = [boxes for (boxes,) in pages.calls(page, "align")[first:]]
  assert all(len(boxes) == 1 for boxes in asked)
  np.testing.assert_allclose(asked[-1][0], after[0]["box"], atol=1e-3)
  assert page.evaluate("globalThis.mostRunning") == 1  # never two at a time


def test_a_slow_computer_is_asked_for_the_newest_box_only(visit):
  with pages.serving(delay_ms=400) as url:
    page = visit(url)
    pages.choose(page, pages.portrait())
    before = len(pages.calls(page, "align"))
    pages.drag(page, pages.middle(page, 0), (80, 40), steps=40)
    pages.settle(page)
    asked = pages.calls(page, "align")[before:]

    assert 2 <= len(asked) <= 10
    np.testing.assert_allclose(asked[-1][0][0], pages.faces(page)[0]["box"], atol=1e-3)


@pytest.mark.parametrize(
  ("edges", "changed"), [("se", (0, 0, 1, 1)), ("nw", (1, 1, 0, 0)), ("e", (0, 0, 1, 0))]
)
def test_a_handle_moves_its_own_edges(page, edges, changed):
  scale = zoom(page)
  handle = page.locator(f".handle.{edges}").bounding_box()
  assert min(handle["width"], handle["height"]) >= 40

  centre = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
  pages.drag(page, centre, (24, 36))
  pages.settle(page)

  by = np.array([24, 36, 24, 36]) * changed / scale
  np.testing.assert_allclose(pages.faces(page)[0]["box"], np.add(pages.FACES[0], by), atol=0.01)


def test_a_box_never_turns_inside_out(page):
  handle = page.locator(".handle.se").bounding_box()
  pages.drag(page, (handle["x"] + 20, handle["y"] + 20), (-500, -400))
  pages.settle(page)

  x0, y0, x1, y1 = pages.faces(page)[0]["box"]
  assert [x0, y0] == pages.FACES[0][:2]
  assert [x1 - x0, y1 - y0] == [4, 4]


def test_a_drag_on_nothing_draws_a_face(page):
  scale = zoom(page)
  box = page.locator(".box").first.bounding_box()
  start = box["x"] - 60, box["y"] + box["height"] + 60
  pages.drag(page, start, (90, 70))
  pages.settle(page)

  faces = pages.faces(page)
  assert len(faces) == 3
  left, top = np.array(pages.FACES[0])[[0, 3]] + np.array([-60, 60]) / scale
  expected = [left, top, left + 90 / scale, top + 70 / scale]
  # The mouse presses on whole pixels of the window.
  np.testing.assert_allclose(faces[2]["box"], expected, atol=1.01 / scale)
  assert (faces[2]["box_source"], faces[2]["box_score"]) == ("hand", None)
  assert faces[2]["id"] == "portrait.png#2"


def test_where_boxes_are_hidden_a_drag_moves_the_photo(page):
  page.locator("[data-show=boxes]").uncheck()
  before = pages.middle(page, 0)
  pages.drag(page, before, (30, -20))
  page.locator("[data-show=boxes]").check()
  pages.settle(page)

  np.testing.assert_allclose(np.subtract(pages.middle(page, 0), before), (30, -20), atol=1.01)
  assert pages.faces(page)[0]["box"] == pages.FACES[0]


def test_the_keyboard_alone_does_everything(page):
  keys = page.keyboard
  page.locator("#stage").focus()
  focused = "document.activeElement.getAttribute('aria-label')"

  keys.press("Tab")
  assert page.evaluate(focused).startswith("Face 1, 177, 163")
  outline = "getComputedStyle(document.activeElement).outlineStyle"
  assert page.evaluate(outline) == "solid"
  keys.press("Tab")
  assert page.evaluate(focused).startswith("Face 2")

  for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "Alt+ArrowRight", "+", "-", "-"):
    keys.press(key)
  pages.settle(page)
  x0, y0, x1, y1 = pages.FACES[1]
  assert pages.faces(page)[1]["box"] == [x0 + 3, y0 + 11, x1 + 2, y1 + 9]

  page.locator(".box").nth(1).focus()
  keys.press("Delete")
  assert page.locator(".box").count() == 1
  assert page.evaluate(focused).startswith("Face 1")  # the keyboard is not lost
  assert "removed, 1 left" in page.locator("#live").inner_text()

  keys.press("n")
  pages.settle(page)
  assert page.evaluate(focused).startswith("Face 2")

  keys.press("]")
  keys.press("]")
  keys.press("[")
  pages.settle(page)
  assert page.locator("#live").inner_text() == "Landmark 0, right jaw 0, score 0.31."
  assert page.locator("#lens-title").inner_text() == "Face 2, landmark 0"
  keys.press("[")
  assert "Landmark 67" in page.locator("#live").inner_text()
  keys.press("Escape")
  assert page.locator("#lens-empty").is_visible()

  page.locator("#save-json").focus()
  with page.expect_download() as download:
    keys.press("Enter")
  assert download.value.suggested_filename == "portrait.json"

  page.locator(".box").first.focus()
  keys.press("Delete")
  keys.press("Delete")
  assert page.locator(".box").count() == 0
  assert page.locator("#draw-hint").inner_text().startswith("Draw a box")
  assert page.evaluate("document.activeElement.id") == "stage"


def test_the_pixel_under_the_pointer_stays_there_when_zooming(page):
  pointer = np.add(np.round(pages.middle(page, 0)), [30, 10])
  before = page.locator(".box").first.bounding_box()
  page.mouse.move(*pointer)
  page.mouse.wheel(0, -600)
  pages.wait_for_width(page, 2 * before["width"], 1e4)
  after = page.locator(".box").first.bounding_box()
  for start, side in (("x", "width"), ("y", "height")):
    place = [(pointer["xy".index(start)] - box[start]) / box[side] for box in (before, after)]
    assert place[0] == pytest.approx(place[1], abs=2e-3)

  page.locator("#fit").click()
  pages.wait_for_width(page, 0.99 * before["width"], 1.01 * before["width"])


def test_a_finger_drags_a_box_and_two_fingers_zoom(url, visit):
  page = visit(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
  pages.choose(page, pages.portrait())
  scale = zoom(page)
  session = page.context.new_cdp_session(page)

  def touch(kind, *points):
    places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

  x, y = pages.middle(page, 0)
  touch("touchStart", (x, y + 20))
  for part in (0.25, 0.5, 0.75, 1):
    touch("touchMove", (x + 30 * part, y + 20 + 12 * part))
  touch("touchEnd")
  pages.settle(page)
  box = pages.faces(page)[0]["box"]
  np.testing.assert_allclose(
    box, np.add(pages.FACES[0], np.tile([30, 12], 2) / scale), atol=1 / scale
  )

  page.evaluate("scrollTo(0, 0)")  # from the button that saves
  x, y = pages.middle(page, 0)
  before = page.locator(".box").first.bounding_box()["width"]
  touch("touchStart", (x - 30, y), (x + 30, y))
  for spread in (35, 45, 60):
    touch("touchMove", (x - spread, y), (x + spread, y))
  touch("touchEnd")
  pages.wait_for_width(page, 1.9 * before, 2.1 * before)
  assert pages.faces(page)[0]["box"] == box  # the first finger has not moved it
