"""export.json: all that a program needs to know to use the files beside it.

What each field means is in README.md of this folder, which `web.py`, the page and the programs in
`consumers/` rely on.
"""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import fal_jax
from fal_jax import config_json
from fal_jax.build import Setup
from fal_jax.crop import CropRule
from fal_jax.detect import boxes
from fal_jax.landmarks import Markup
from fal_jax.output.commit import git_commit
from fal_jax.weights import exported
from fal_jax.weights.pretrained import Pretrained

CROP_RULE = (
  "the crop is square, its centre is that of the box and the box's larger side becomes `face` px: "
  "crop = (image - centre) * face / larger + (size - 1) / 2, black outside the image, pixel-centre "
  "coordinates; averaged down by the whole part of larger / face first, then bilinear"
)
BOX_RULE = (
  "a detector's edges minus 0.5 are pixel-centre; with s = sqrt(width * height) the landmark box "
  "has its centre (right, down) * s from the detector's and the sides (width, height) * s"
)


def describe(
  model: Pretrained, setup: Setup, *, files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """The content of export.json.

  Args:
    model: the network, with the card that `source.load` makes.
    setup: what its config describes.
    files: name -> "sha256" and "bytes" of the other files of the export.

  Returns:
    A mapping ready for JSON.
  """
  about = model.card
  size, num = setup.crop.size, setup.markup.num
  cells = setup.codec.size
  return {
    "format": exported.FORMAT,
    **{key: about[key] for key in ("name", "summary", "licence", "notice")},
    "input": {
      "name": "images",
      "shape": ["batch", size, size, 3],
      "dtype": "uint8",
      "size": size,
      "channels": "RGB",
    },
    "outputs": {
      "landmarks": {"shape": ["batch", num, 2], "dtype": "float32", "unit": "crop px, (x, y)"},
      "scores": {"shape": ["batch", num], "dtype": "float32", "unit": "height of the peak"},
      "heatmaps": {
        "shape": ["batch", cells, cells, num],
        "dtype": "float32",
        "unit": "1 at a peak; of model.onnx alone",
      },
    },
    "crop": {"size": size, "face": setup.crop.face, "rule": CROP_RULE},
    "boxes": describe_boxes(setup.crop, setup.markup),
    "codec": {
      "stride": setup.codec.stride,
      "size": cells,
      "sigma": setup.codec.sigma,
      "window": setup.codec.window,
      "temperature": setup.codec.temperature,
      "decode": setup.codec.decoding,
    },
    "markup": {
      "num": num,
      "names": list(setup.markup.names),
      "edges": [list(edge) for edge in setup.markup.edges],
      "flip": setup.markup.flip.tolist(),
      "outer_eyes": setup.markup.outer_eyes,
      "pupils": setup.markup.pupils,
    },
    "origin": about["origin"],
    "card": about["card"],
    "versions": versions(),
    "files": dict(files),
    "config": config_json.to_json(model.config),
  }


def describe_boxes(rule: CropRule, markup: Markup) -> dict[str, Any]:
  """Which box a network wants, and how detectors' boxes become such boxes.

  Args:
    rule: its crop.
    markup: its landmarks.

  Returns:
    `kind`, `meaning`, `rule`, and `detectors`: the numbers of the rule for each; empty where none
    was measured.
  """
  if rule.box == "dataset":
    return {
      "kind": "dataset",
      "meaning": "the box that the authors of the dataset give, as in training",
      "rule": "not measured: no detector draws this dataset's boxes",
      "detectors": {},
    }
  box = {"kind": "landmarks", "meaning": f"tight around the {markup.num} landmarks"}
  # The rules were measured with 68 landmarks. Others that reach from the brows to the chin have the
  # same box to a few percent; the inner landmarks alone have another.
  brows_to_chin = {"jaw", "right_brow", "left_brow"} <= markup.regions.keys()
  if not brows_to_chin:
    return {**box, "rule": "not measured for this mark-up", "detectors": {}}
  rules = {
    "yunet": boxes.YUNET,
    "mtcnn": boxes.MTCNN,
    "blazeface": boxes.BLAZEFACE,
    "dlib": boxes.DLIB,
    "scrfd": boxes.WIDER_FACE,
    "retinaface": boxes.WIDER_FACE,
  }
  return {
    **box,
    "meaning": f"{box['meaning']}: from the brows to the chin",
    "rule": BOX_RULE,
    "detectors": {name: each._asdict() for name, each in rules.items()},
  }


def versions() -> dict[str, str | None]:
  """Releases of what writes the files; None of what is not installed."""
  found: dict[str, str | None] = {
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
    "python": platform.python_version(),
  }
  for package in ("jax", "jaxlib", "onnx", "safetensors", "numpy"):
    try:
      found[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      found[package] = None
  return found
