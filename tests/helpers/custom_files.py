"""A user's dataset: five landmarks on drawn discs, in each of the formats that `custom` reads."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tiny_dataset import png

NUM = 5
NAMES = ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"]
MARKUP = f"""
name: my_faces
origin: 0
landmarks: [{", ".join(NAMES)}]
mirror: [[right_eye, left_eye], [3, 4]]
lines: [[3, 4]]
outer_eyes: [0, 1]
"""
HEADER = ["image", *(f"{axis}{k}" for k in range(NUM) for axis in "xy")]
SIZE = 50, 60  # rows and columns of every image
_COLOURS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]


def landmarks(seed: int) -> np.ndarray:
  """(5, 2) float64 image px, 0-based, with two decimals."""
  shape = np.array([[18.0, 16], [42, 16], [30, 26], [22, 36], [38, 36]])
  return np.round(shape + np.random.default_rng(seed).uniform(-3, 3, (NUM, 2)), 2)


def draw(points: np.ndarray) -> np.ndarray:
  """(H, W, 3) uint8: a soft disc for each landmark, each of a different colour."""
  rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
  image = np.zeros((*SIZE, 3))
  for (x, y), colour in zip(points, _COLOURS, strict=True):
    image += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)[..., None] * colour
  return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def name(seed: int) -> str:
  return f"images/face {seed:02d}.png"


def write_images(root: Path, seeds: Iterable[int], *, markup: str = MARKUP) -> Path:
  """Writes images and the mark-up file, no landmarks."""
  (root / "images").mkdir(parents=True)
  (root / "markup.yaml").write_text(markup)
  for seed in seeds:
    (root / name(seed)).write_bytes(png(draw(landmarks(seed))))
  return root


def rows(seeds: Iterable[int], *, origin: float = 0) -> list[list[object]]:
  """The header of `landmarks.csv` and a line for each image."""
  return [HEADER, *([name(seed), *(landmarks(seed) + origin).ravel().tolist()] for seed in seeds)]


def write_table(root: Path, table: Sequence[Sequence[object]]) -> None:
  with (root / "landmarks.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows(table)


def coco(seeds: Iterable[int]) -> dict[str, list]:
  """The content of `annotations.json`; images lack their folder, as COCO's tools have them."""
  content: dict[str, list] = {
    "images": [],
    "annotations": [],
    "categories": [{"id": 1, "name": "face", "keypoints": NAMES}],
  }

  for seed in seeds:
    keypoints = np.column_stack([landmarks(seed), np.full(NUM, 2)]).ravel().tolist()
    content["images"].append(
      {"id": 100 + seed, "file_name": f"face {seed:02d}.png", "width": SIZE[1], "height": SIZE[0]}
    )
    face = {"id": seed, "image_id": 100 + seed, "category_id": 1, "bbox": [10, 8, 40, 36]}
    content["annotations"].append({**face, "keypoints": keypoints, "num_keypoints": NUM})

  return content


def write_coco(root: Path, content: object) -> None:
  (root / "annotations.json").write_text(json.dumps(content))


def write_pts(root: Path, seeds: Iterable[int], *, origin: float = 0) -> None:
  for seed in seeds:
    lines = "".join(f"{x:.6f} {y:.6f}\n" for x, y in landmarks(seed) + origin)
    (root / name(seed)).with_suffix(".pts").write_text(
      f"version: 1\nn_points: {NUM}\n{{\n{lines}}}\n"
    )
