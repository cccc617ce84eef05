"""Landmarks of a face with model.onnx: python use_onnx.py photo.jpg x0 y0 x1 y1

Needs `pip install numpy onnxruntime`, and Pillow for photographs that are not .npy. The box
is in px of the photo, from the brows to the chin; README.md says how detectors' boxes become such
boxes. This program is Apache-2.0, as fal_jax is; the network has a licence of its own, see there.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).parent


def read_photo(path):
  """A photograph, (H, W, 3) uint8 RGB, upright; any format but NumPy's own needs Pillow."""
  try:
    if path.endswith(".npy"):
      return np.load(path, allow_pickle=False)
    from PIL import Image, ImageOps

    with Image.open(path) as image:
      return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
  except ImportError:
    sys.exit(f"{path} needs Pillow (pip install pillow); without it, save the pixels as .npy.")
  except (OSError, ValueError) as error:
    sys.exit(f"{path} cannot be read as a photograph: {error}")


def read_box(corners):
  """A box's corners as numbers; anything else would give landmarks of no face."""
  try:
    box = [float(corner) for corner in corners]
  except ValueError:
    box = []
  if not (len(box) == 4 and np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
    given = " ".join(corners)
    sys.exit(f"A box is four numbers x0 y0 x1 y1, x0 < x1 and y0 < y1, px of the photo: {given}")
  return box


def cut_out(photo, box, *, size, face):
  """The crop, (size, size, 3) uint8, in whose middle the box's larger side is `face` px."""
  larger = max(box[2] - box[0], box[3] - box[1])

  # A photo that shrinks to less than half is averaged down by a whole factor first.
  factor = max(1, int(min(larger / face, max(photo.shape[:2]))))
  if factor > 1:
    height, width = photo.shape[:2]
    photo = np.pad(photo, ((0, -height % factor), (0, -width % factor), (0, 0)))
    blocks = photo.reshape(len(photo) // factor, factor, -1, factor, 3)
    photo = blocks.mean((1, 3)).round()

  steps = (np.arange(size) - (size - 1) / 2) * larger / face  # from the middle, px of the photo
  x = ((box[0] + box[2]) / 2 + steps + 0.5) / factor - 0.5
  y = ((box[1] + box[3]) / 2 + steps + 0.5) / factor - 0.5
  return sample(sample(photo, y, axis=0), x, axis=1).round().astype(np.uint8)


def sample(pixels, position, *, axis):
  """Linear interpolation at positions along an axis; black beyond it."""
  pixels = np.moveaxis(pixels, axis, 0)
  first = np.floor(position).astype(int)
  total = np.zeros(())
  for index, weight in ((first, first + 1 - position), (first + 1, position - first)):
    weight = np.where((index >= 0) & (index < len(pixels)), weight, 0)
    total = total + weight[:, None, None] * pixels[np.clip(index, 0, len(pixels) - 1)]
  return np.moveaxis(total, 0, axis)


def to_photo(landmarks, box, *, size, face):
  """Landmarks (K, 2) from px of the crop to px of the photo."""
  larger = max(box[2] - box[0], box[3] - box[1])
  centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
  return (landmarks - (size - 1) / 2) * larger / face + centre


def main(path, *corners):
  """Prints a line for each landmark: its name, x and y in the photo, and its score."""
  about = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
  print(about["notice"], end="\n" if about["notice"] else "", file=sys.stderr)
  crop = {"size": about["crop"]["size"], "face": about["crop"]["face"]}
  photo, box = read_photo(path), read_box(corners)

  network = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
  images = cut_out(photo, box, **crop)[None]
  landmarks, scores = network.run(["landmarks", "scores"], {"images": images})

  points = to_photo(landmarks[0], box, **crop)
  for name, (x, y), score in zip(about["markup"]["names"], points, scores[0], strict=True):
    print(f"{name} {x:.3f} {y:.3f} {score:.3f}")


if __name__ == "__main__":
  if len(sys.argv) != 6:
    sys.exit(f"Usage: python {sys.argv[0]} photo.jpg x0 y0 x1 y1 (the face's box, see README.md)")
  main(*sys.argv[1:])
