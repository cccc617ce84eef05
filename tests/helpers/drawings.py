"""Reading drawn files back: their pixels, and where a colour is."""

import sys

import numpy as np
from PIL import Image


def read_rgb(path) -> np.ndarray:
  """(H, W, 3) int."""
  with Image.open(path) as picture:
    return np.asarray(picture.convert("RGB")).astype(int)


def where(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
  """(H, W) bool: pixels (H, W, 3) that have the colour, within a tolerance per channel."""
  return (np.abs(pixels - colour) <= tolerance).all(-1)


def hide_matplotlib(monkeypatch) -> None:
  """Makes every import of matplotlib fail, as if it were not installed."""
  loaded = [name for name in sys.modules if name.split(".")[0] == "matplotlib"]
  for name in [*loaded, "matplotlib"]:
    monkeypatch.setitem(sys.modules, name, None)
