"""The page: photos in, faces out, and what it says where that does not work."""

import re

import numpy as np
import pages
import pytest

pytestmark = pytest.mark.heavy

DROP = """(type) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [300, 200];
  canvas.toBlob((blob) => {
    const data = new DataTransfer();
    data.items.add(new File([blob], `${type}.png`, { type: "image/png" }));
    const event = type === "paste"
      ? new ClipboardEvent(type, { clipboardData: data, bubbles: true, cancelable: true })
      : new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  });
}"""


@pytest.fixture(scope="module")
def url():
  with pages.serving() as address:
    yield address


@pytest.fixture(scope="module")
def page(url, visitors):
  return visitors(url)


def text(page, selector: str) -> str:
  return page.locator(selector).inner_text()


def wait_for_photo(page, name: str) -> None:
  """Waits until the computer has been given a file of this name."""
  page.wait_for_function(
    "(name) => globalThis.calls.some((call) => call[0] === 'add' && call[1] === name)", arg=name
  )
  pages.settle(page)


def test_the_first_screen_says_what_this_is_and_where_photos_go(url, visit):
  page = visit(url)
  assert "68 landmarks" in text(page, "#purpose")
  assert "No photo leaves this computer." in text(page, "#purpose")
  assert text(page, "#notice") == pages.NOTICE
  assert not page.locator("aside").is_visible()

  with page.expect_file_chooser() as chooser:
    page.locator("#welcome-choose").click()
  chooser.value.set_files([pages.portrait()])
  pages.settle(page)
  assert text(page, "#live") == "2 faces found."
  assert text(page, "#notice") == pages.NOTICE
  assert page.locator("aside").is_visible()
  assert page.evaluate("document.activeElement.id") == "stage"


def test_faces_are_listed_with_their_scores(page, visit):
  pages.choose(page, pages.portrait())
  assert page.locator(".face").count() == page.locator(".box").count() == 2
  first = text(page, ".face >> nth=0")
  assert "Face 1" in first
  assert "found, 0.95" in first
  assert re.search(r"Mean score 0\.84, lowest 0\.31 \(right jaw 0\)", first)
  label = page.locator(".box").nth(1).get_attribute("aria-label")
  assert label == "Face 2, 400, 60 to 480, 150"


def test_points_and_lines_can_be_switched_off(page, visit):
  pages.choose(page, pages.portrait())
  drawn = """() => {
    const canvas = document.querySelectorAll("#stage canvas")[1];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 0).length;
  }"""
  frame = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
  amounts = []
  for shown in ("numbers", "numbers", "lines", "points"):
    page.locator(f"[data-show={shown}]").click()
    page.evaluate(frame)
    amounts.append(page.evaluate(drawn))
  page.locator("[data-show=boxes]").uncheck()
  page.evaluate(frame)
  assert page.locator(".box.quiet").count() == 2
  for shown in ("lines", "points", "boxes"):
    page.locator(f"[data-show={shown}]").check()

  assert amounts[0] >= amounts[1] > amounts[2] > amounts[3] == 0


def test_of_several_photos_the_last_stays(page, visit):
  small = {**pages.group(), "name": "last.png"}
  pages.choose(page, pages.portrait(), small)
  wait_for_photo(page, "last.png")
  name, _ = pages.saved(page, page.locator("#save-json"))
  assert name == "last.json"


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_photos_can_be_dropped_and_pasted(page, visit, way):
  page.evaluate(DROP, way)
  wait_for_photo(page, f"{way}.png")
  name, _ = pages.saved(page, page.locator("#save-json"))
  assert name == f"{way}.json"


def test_a_file_that_is_no_image_is_named_and_the_photo_stays(page, visit):
  pages.choose(page, pages.portrait())
  pages.choose(page, pages.not_an_image())
  alert = page.locator("#alert p")
  alert.wait_for()
  assert alert.inner_text().startswith("notes.txt is not an image")
  assert page.locator(".box").count() == 2

  page.locator("#alert button").click()
  assert not page.locator("#alert").is_visible()
  pages.choose(page, pages.not_an_image())
  alert.wait_for()
  pages.choose(page, pages.portrait())
  alert.wait_for(state="detached")
  assert len(pages.faces(page)) == 2


def test_a_bad_file_does_not_disturb_the_photo_that_is_on_its_way(visit):
  with pages.serving(delay_ms=500) as url:
    page = visit(url)
    page.locator("#chooser").set_input_files([pages.portrait()])
    page.wait_for_function("() => globalThis.calls?.some((call) => call[0] === 'detect')")
    pages.choose(page, pages.not_an_image())
    assert len(pages.faces(page)) == 2
    assert text(page, "#alert p").startswith("notes.txt is not an image")


def test_a_network_that_fails_says_so_and_boxes_stay(visit):
  with pages.serving(fails="align") as url:
    page = visit(url)
    pages.choose(page, pages.portrait())
    assert text(page, "#alert p") == "The network failed: reload the page."
    assert "No points" in text(page, ".face >> nth=0")
    assert page.locator("#save-json").is_disabled()


def test_nobody_is_told_to_change_a_box_whose_points_are_on_their_way(visit):
  with pages.serving(delay_ms=2000) as url:
    page = visit(url)
    page.locator("#chooser").set_input_files([pages.portrait()])
    page.wait_for_function("() => globalThis.calls?.some((call) => call[0] === 'align')")
    page.locator("#chooser").set_input_files([pages.not_an_image()])
    page.locator("#alert").wait_for()
    assert "Placing points" in text(page, ".face >> nth=0")


def test_a_network_that_does_not_load_says_so(visit):
  with pages.serving(fails="open") as url:
    page = visit(url)
    page.locator("#alert p").wait_for()
    assert text(page, "#alert p") == "The network could not be loaded: reload the page."


@pytest.mark.parametrize("detects", [True, False])
def test_where_no_face_is_found_the_page_asks_for_a_box(visit, detects):
  with pages.serving(faces=[], detects=detects) as url:
    page = visit(url)
    pages.choose(page, pages.portrait())
    page.locator("#draw-hint").wait_for()
    hint = text(page, "#draw-hint")
    assert "from the eyebrows to the chin" in hint
    assert ("No face was found." in hint) is detects
    assert bool(pages.calls(page, "detect")) is detects

    stage = page.locator("#stage").bounding_box()
    start = stage["x"] + stage["width"] / 2 - 80, stage["y"] + 120
    pages.drag(page, start, (160, 150))
    pages.settle(page)
    assert not page.locator("#draw-hint").is_visible()
    assert len(pages.faces(page)) == 1


def test_the_camera_takes_a_picture(url, visit):
  page = visit(url, permissions=["camera"])
  page.locator("#welcome-camera").click()
  page.locator("#take-picture:enabled").click()
  page.wait_for_function("() => globalThis.calls.some((call) => call[0] === 'add')")
  pages.settle(page)
  assert not page.locator("dialog").is_visible()
  assert page.locator("video").evaluate("(video) => video.srcObject") is None  # it is off
  name, _ = pages.saved(page, page.locator("#save-json"))
  assert re.fullmatch(r"camera_\d{8}_\d{6}\.json", name)


@pytest.mark.parametrize(
  ("error", "sentence"),
  [
    ("NotAllowedError", "The camera was not allowed"),
    ("NotFoundError", "No camera was found"),
    (None, "Browsers offer the camera on https and localhost only"),
  ],
)
def test_a_camera_that_does_not_work_says_why(page, visit, error, sentence):
  page.evaluate(
    """(error) => {
      const media = error && { getUserMedia: async () => { throw new DOMException("", error); } };
      Object.defineProperty(navigator, "mediaDevices", { value: media, configurable: true });
    }""",
    error,
  )
  page.locator("#camera:visible, #welcome-camera:visible").click()
  page.wait_for_function(
    "(start) => document.querySelector('#alert').textContent.startsWith(start)", arg=sentence
  )
  assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_every_screen_and_every_finger(url, visit, scheme):
  page = visit(url, color_scheme=scheme, reduced_motion="reduce")
  pages.choose(page, pages.portrait())
  page.locator(".box").first.focus()
  page.keyboard.press("]")
  pages.settle(page)

  for width in (320, 390, 860, 1280, 2560):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
      """() => [...document.querySelectorAll("button, select, label, summary, .handle")]
        .filter((e) => e.checkVisibility())
        .map((e) => [e.id || e.className || e.textContent, e.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 40 || height < 40).map(([name]) => name)"""
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(url, visit, scheme):
  page = visit(url, color_scheme=scheme)
  names = ("ground", "surface", "accent-soft", "alert-soft", "ink", "muted", "accent", "alert")
  names += ("on-accent", "accent-strong")
  colours = page.evaluate(
    """(names) => {
      const style = getComputedStyle(document.documentElement);
      return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    }""",
    names,
  )
  luminance = {name: relative_luminance(colour) for name, colour in colours.items()}
  assert (luminance["ground"] < 0.1) is (scheme == "dark")

  pairs = [
    (text, ground) for text in ("ink", "muted", "accent") for ground in ("ground", "surface")
  ]
  pairs += [("ink", "accent-soft"), ("muted", "accent-soft"), ("accent-strong", "accent-soft")]
  pairs += [("alert", "alert-soft"), ("on-accent", "accent"), ("on-accent", "accent-strong")]
  for pair in pairs:
    low, high = sorted(luminance[name] for name in pair)
    assert (high + 0.05) / (low + 0.05) >= 4.5, pair


def relative_luminance(colour: str) -> float:
  """That of WCAG 2.2, from `#rrggbb`."""
  channels = np.array([int(colour.strip()[i : i + 2], 16) for i in (1, 3, 5)]) / 255
  linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
  return float(linear @ [0.2126, 0.7152, 0.0722])
