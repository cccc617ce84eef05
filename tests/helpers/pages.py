"""The page with a computer that knows where the faces are, and photos for it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import cv2
import face_detectors
import numpy as np

from fal_jax.landmarks import MARKUPS

FOLDER = Path(browser.__file__).parents[2] / "fal_jax" / "page"
COMPUTER = Path(browser.__file__).with_name("page_computer.js")

NOTICE = "For research only: learnt from 300W."
FACES = [[177.0, 163.0, 354.0, 333.0], [400.0, 60.0, 480.0, 150.0]]


@contextlib.contextmanager
def serving(*, notice: str = NOTICE, num: int = 68, **mock: Any) -> Iterator[str]:
  """Serves the page with the mock in `page_computer.js` behind it, and yields its address.

  Args:
    notice: of the network.
    num: of landmarks.
    mock: what the mock does.
  """
  markup = MARKUPS[num]
  page_json = {
    "computer": "server",
    "model": {
      "name": "w300-68",
      "notice": notice,
      "num_landmarks": markup.num,
      "names": list(markup.names),
      "edges": [list(edge) for edge in markup.edges],
      "decode": "calibrated",
      "crop_size": 256,
    },
    "detector": "mock",
    "mock": {"faces": FACES, **mock},
  }
  more = {"server.js": COMPUTER, "page.json": json.dumps(page_json).encode()}
  with browser.serving(FOLDER, more) as url:
    yield url


def portrait() -> dict[str, Any]:
  """A photograph as a file chooser takes it: Grace Hopper, 512 x 600."""
  return _png("portrait.png", face_detectors.portrait())


def group() -> dict[str, Any]:
  """Her portrait eight times, small, on grey: 1200 x 700."""
  canvas = np.full((700, 1200, 3), 118, np.uint8)
  for number in range(8):
    side = 150 + 18 * number
    small = cv2.resize(face_detectors.portrait(), (side, side * 600 // 512), interpolation=3)
    x, y = 20 + 290 * (number % 4), 20 + 330 * (number // 4)
    height = min(small.shape[0], 700 - y)
    canvas[y : y + height, x : x + side] = small[:height]
  return _png("group.png", canvas)


def group_boxes() -> list[list[float]]:
  """Where the faces of `group` are."""
  boxes = []
  for number in range(8):
    scale = (150 + 18 * number) / 512
    x, y = 20 + 290 * (number % 4), 20 + 330 * (number // 4)
    boxes.append([value * scale + (x, y)[i % 2] for i, value in enumerate(FACES[0])])
  return boxes


def _png(name: str, image: np.ndarray) -> dict[str, Any]:
  _, content = cv2.imencode(".png", image[..., ::-1])
  return {"name": name, "mimeType": "image/png", "buffer": content.tobytes()}


def not_an_image() -> dict[str, Any]:
  """A text file."""
  return {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no photo"}


def choose(page: Any, *files: dict[str, Any]) -> None:
  """Chooses files, and waits until all faces have their points."""
  page.locator("#chooser").set_input_files(list(files))
  settle(page)


def wait_for_width(page: Any, low: float, high: float) -> None:
  """Waits until the first box is so wide, px of the window."""
  page.wait_for_function(
    """([low, high]) => {
      const { width } = document.querySelector(".box").getBoundingClientRect();
      return low < width && width < high;
    }""",
    arg=[low, high],
  )


def settle(page: Any) -> None:
  """Waits until the page waits for nothing."""
  page.wait_for_function(
    """() => document.querySelector("#spinner").hidden && globalThis.running === 0
      && ![...document.querySelectorAll(".scores")].some((e) => e.textContent.includes("Placing"))
      && !document.querySelector("#heatmap.waiting")"""
  )


def calls(page: Any, name: str) -> list[list[Any]]:
  """The arguments of the computer's calls of a function so far."""
  return [arguments for called, *arguments in page.evaluate("globalThis.calls") if called == name]


def saved(page: Any, button: Any) -> tuple[str, bytes]:
  """The name and content of the file that a button saves."""
  with page.expect_download() as download:
    button.click()
  return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def faces(page: Any) -> list[dict[str, Any]]:
  """The faces as the page saves them."""
  _, content = saved(page, page.locator("#save-json"))
  return json.loads(content)["images"][0]["faces"]


def middle(page: Any, face: int) -> tuple[float, float]:
  """The middle of a face's box, px of the window."""
  box = page.locator(".box").nth(face).bounding_box()
  return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Any, start: tuple[float, float], by: tuple[float, float], *, steps: int = 8) -> None:
  """Drags with the mouse, px of the window."""
  page.mouse.move(*start)
  page.mouse.down()
  page.mouse.move(start[0] + by[0], start[1] + by[1], steps=steps)
  page.mouse.up()
