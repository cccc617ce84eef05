"""The user's dataset of `custom_files` as annotation tools write it.

Coordinates are the tool's own: `files.landmarks` and `BOX`, both 0-based, plus the tool's origin.
"""

import copy
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import custom_files as files
import numpy as np

HEIGHT, WIDTH = files.SIZE
BOX = 9.5, 7.5, 49.5, 43.5  # 0-based, x0, y0, x1, y1: the pixels (10, 8) to (49, 43)
ORIGINS = {"labelme": 0.5, "label-studio": 0.5, "JSON-MIN": 0.5, "imglab": 0, "YOLO": 0.5}


def declare(root: Path, origin: float, *, more: str = "") -> None:
  """Writes the mark-up file with another origin, and more keys."""
  text = files.MARKUP.replace("origin: 0", f"origin: {origin:g}")
  (root / "markup.yaml").write_text(text + more)


def named(seed: int, origin: float) -> dict[str, tuple[float, float]]:
  """Name of a landmark -> x, y, as a tool counts; not in the mark-up's order."""
  points = files.landmarks(seed) + origin
  return {files.NAMES[k]: (float(points[k, 0]), float(points[k, 1])) for k in (2, 4, 0, 1, 3)}


def labelme(seed: int) -> dict[str, Any]:
  """One file of labelme 5."""
  x0, y0, x1, y1 = (value + 0.5 for value in BOX)
  shape = {"group_id": None, "description": "", "flags": {}, "mask": None}
  shapes = [
    {"label": name.replace("_", " ").title(), "points": [[x, y]], "shape_type": "point", **shape}
    for name, (x, y) in named(seed, 0.5).items()
  ]
  box = {"label": "face", "points": [[x1, y0], [x0, y1]], "shape_type": "rectangle", **shape}
  return {
    "version": "5.5.0",
    "flags": {},
    "shapes": [box, *shapes],
    "imagePath": Path(files.name(seed)).name,
    "imageData": "aGVsbG8=",
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
  }


def write_labelme(root: Path, seeds: Iterable[int]) -> None:
  for seed in seeds:
    path = (root / files.name(seed)).with_suffix(".json")
    path.write_text(json.dumps(labelme(seed)), encoding="utf-8")


def label_studio(seeds: Iterable[int]) -> list[dict[str, Any]]:
  """The JSON export; images are uploads, whose names have lost their space."""
  tasks = []
  for seed in seeds:
    shared = {"to_name": "image", "image_rotation": 0, "origin": "manual"}
    shared |= {"original_width": WIDTH, "original_height": HEIGHT}
    x0, y0, x1, y1 = (value + 0.5 for value in BOX)
    box = {"x": x0 / WIDTH * 100, "y": y0 / HEIGHT * 100, "rotation": 0}
    box |= {"width": (x1 - x0) / WIDTH * 100, "height": (y1 - y0) / HEIGHT * 100}
    result: list[dict[str, Any]] = [
      {
        "id": "box-0",
        "type": "rectanglelabels",
        "from_name": "label",
        "value": {**box, "rectanglelabels": ["Face"]},
        **shared,
      }
    ]
    for number, (name, (x, y)) in enumerate(named(seed, 0.5).items()):
      place = {"x": x / WIDTH * 100, "y": y / HEIGHT * 100, "width": 0.4}
      result.append(
        {
          "id": f"point-{number}",
          "type": "keypointlabels",
          "from_name": "kp-1",
          "parentID": "box-0",
          "value": {**place, "keypointlabels": [name.replace("_", "-")]},
          **shared,
        }
      )
    annotation = {"id": seed, "was_cancelled": False, "created_at": "2024-01-30T02:40:43.893565Z"}
    tasks.append(
      {
        "id": 80 + seed,
        "annotations": [{**annotation, "result": result}],
        "drafts": [],
        "predictions": [],
        "data": {"image": f"/data/upload/29/9d3f2f{seed:02d}-face_{seed:02d}.png"},
        "created_at": "2024-01-30T02:40:33.867975Z",
        "project": 29,
      }
    )
  return tasks


def json_min(seeds: Iterable[int]) -> list[dict[str, Any]]:
  """The JSON-MIN export, as label_studio_converter makes it of the other one."""
  records = []
  for task in label_studio(seeds):
    (annotation,) = task["annotations"]
    record = {**task["data"], "id": task["id"]}
    for region in annotation["result"]:
      sizes = {key: region[key] for key in ("original_width", "original_height")}
      record.setdefault(region["from_name"], []).append({**region["value"], **sizes})
    record |= {"annotator": 1, "annotation_id": annotation["id"], "lead_time": 8.65}
    records.append({**record, "created_at": annotation["created_at"]})
  return records


def imglab(seeds: Iterable[int], *, attributes: str = "", more: str = "") -> str:
  """dlib's XML, with parts called by their numbers; `more` stands in each image, behind its box."""
  images = []
  for seed in seeds:
    points = files.landmarks(seed)
    parts = "".join(
      f"      <part name='{k:02d}' x='{x:.2f}' y='{y:.2f}'/>\n" for k, (x, y) in enumerate(points)
    )
    images.append(
      f"  <image file='{files.name(seed)}' width='{WIDTH}' height='{HEIGHT}'>\n"
      f"    <box top='8' left='10' width='40' height='36'{attributes}>\n"
      f"      <label>face</label>\n{parts}    </box>\n{more}  </image>\n"
    )
  return (
    "<?xml version='1.0' encoding='ISO-8859-1'?>\n"
    "<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>\n"
    "<dataset>\n<name>imglab dataset</name>\n<comment>Created by imglab tool.</comment>\n"
    f"<images>\n{''.join(images)}</images>\n</dataset>"
  )


def write_roboflow(root: Path, folders: Mapping[str, Iterable[int]]) -> None:
  """Moves the images into Roboflow's folders, each with its COCO file."""
  for folder, seeds in folders.items():
    (root / folder).mkdir()
    content = files.coco(seeds)
    # The first category is Roboflow's own, without key-points.
    content["categories"] = [
      {"id": 0, "name": "faces", "supercategory": "none"},
      *content["categories"],
    ]
    for image in content["images"]:
      shutil.move(root / "images" / image["file_name"], root / folder / image["file_name"])
    (root / folder / "_annotations.coco.json").write_text(json.dumps(content))


def yolo_line(seed: int, *, dims: int = 3) -> str:
  """A line of a label file: class, box, landmarks, in parts of the image's size."""
  size = np.array([WIDTH, HEIGHT])
  corners = np.array(BOX).reshape(2, 2) + 0.5
  box = [*(corners.mean(0) / size), *((corners[1] - corners[0]) / size)]
  points = (files.landmarks(seed) + 0.5) / size
  table = np.column_stack([points, np.full(files.NUM, 2)])[:, :dims]
  return " ".join(["0", *(f"{value:.10g}" for value in (*box, *table.ravel()))])


def write_yolo(root: Path, folders: Mapping[str, Iterable[int]], *, dims: int = 3) -> None:
  """Moves the images into the folders of Ultralytics, with labels and data.yaml."""
  for folder, seeds in folders.items():
    (root / "images" / folder).mkdir()
    (root / "labels" / folder).mkdir(parents=True)
    for seed in seeds:
      old = root / files.name(seed)
      shutil.move(old, old.parent / folder / old.name)
      (root / "labels" / folder / f"{old.stem}.txt").write_text(yolo_line(seed, dims=dims) + "\n")
  (root / "data.yaml").write_text(
    f"path: ../datasets/faces\ntrain: images/train\nval: images/val\n\nkpt_shape: [5, {dims}]\n"
    "flip_idx: [1, 0, 2, 4, 3]\nnames:\n  0: face\n"
  )


def changed(content: Any, *path: Any, to: Any) -> Any:
  """A copy of lists and dictionaries with one value replaced."""
  content = copy.deepcopy(content)
  inner = content
  for key in path[:-1]:
    inner = inner[key]
  inner[path[-1]] = to
  return content
