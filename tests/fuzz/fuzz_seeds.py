"""Small genuine files of each format, for `fuzz_parsers`: what damage begins with."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cofw_files
import custom_files
import cv2
import numpy as np
import scipy.io
import tool_files
import torch_pickles
import w300_files
import wflw_files
from PIL import Image

from fal_jax.crop import CropRule
from fal_jax.robustness import factors
from fal_jax.scoring import landmark_csv

PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8), (37, 30))
Image.init()
WRITTEN = frozenset(Image.SAVE)  # AVIF only where Pillow was built with it
IDS = [f"images/{row}.png" for row in range(4)]
POINTS = np.arange(40.0).reshape(4, 5, 2) + 0.25


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
  """A file of one of Pillow's formats."""
  file = io.BytesIO()
  (Image.fromarray(PIXELS) if image is None else image).save(file, kind, **options)
  return file.getvalue()


def _exif() -> Image.Exif:
  exif = Image.Exif()
  exif[0x0112] = 6
  return exif


def ordinary_images(_: Path) -> list[bytes]:
  picture = Image.fromarray(PIXELS)
  alpha = picture.convert("RGBA")
  alpha.putalpha(100)
  deep = cv2.imencode(".png", PIXELS.astype(np.uint16) * 257)[1].tobytes()
  return [
    encoded("JPEG", exif=_exif()),
    encoded("JPEG", progressive=True),
    encoded("JPEG", picture.convert("CMYK")),
    encoded("JPEG", picture.convert("L")),
    encoded("PNG", exif=_exif()),
    encoded("PNG", alpha),
    encoded("PNG", picture.quantize(8), transparency=1),
    deep,
    encoded("WEBP", exif=_exif()),
    encoded("WEBP", alpha, lossless=True),
    encoded("WEBP", save_all=True, append_images=[picture.rotate(180)]),
  ]


def rare_images(_: Path) -> list[bytes]:
  picture = Image.fromarray(PIXELS)
  deep = cv2.imencode(".tiff", PIXELS.astype(np.uint16) * 257)[1].tobytes()
  kinds = ("GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
  files = [encoded(kind) for kind in kinds if kind in WRITTEN]
  files += [
    encoded("TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")
  ]
  floats = Image.fromarray(PIXELS[..., 0].astype(np.float32))
  return [*files, deep, encoded("TIFF", floats), encoded("GIF", picture.quantize(8))]


def all_images(folder: Path) -> list[bytes]:
  return ordinary_images(folder) + rare_images(folder)


def pts(folder: Path) -> list[bytes]:
  path = folder / "seed"
  w300_files.write_pts(path, w300_files.face_landmarks(0))
  with_header = path.read_bytes()
  w300_files.write_pts(path, w300_files.face_landmarks(1), header=False)
  return [with_header, path.read_bytes(), with_header.replace(b"\n", b"\r\n")]


def wflw_list(_: Path) -> list[bytes]:
  lines = [wflw_files.face_line("train", index) for index in range(3)]
  return ["\n".join(lines).encode()]


def mat5(folder: Path) -> list[bytes]:
  cells = np.empty((2, 1), object)
  cells[:, 0] = ["0/image1.jpg", "2/image2.jpg"]
  content = {"pts_2d": POINTS[0], "nameList": cells, "struct": {"a": 1.0, "b": "text"}}
  files = []
  for options in ({}, {"do_compression": True}):
    scipy.io.savemat(folder / "seed", content, **options)
    files.append((folder / "seed").read_bytes())
  scipy.io.savemat(folder / "seed", {"pts_2d": POINTS[0]}, format="4")
  return [*files, (folder / "seed").read_bytes()]


def mat73(folder: Path) -> list[bytes]:
  cofw_files.write_cofw(folder / "seed", "T", [0, cofw_files.GREY])
  return [(folder / "seed").read_bytes()]


def landmarks_csv(folder: Path) -> list[bytes]:
  path = folder / "seed"
  landmark_csv.write(path, IDS, POINTS, scores=np.ones((4, 5)))
  written = path.read_bytes()
  more = b"id,x0,y0,visible0,box_x0,box_y0,box_x1,box_y1,subsets\na,1,2,1,0,0,9,9,near far\n"
  return [written, more]


def landmarks_json(_: Path) -> list[bytes]:
  keys = {"visible": [True] * 5, "box": [0, 0, 50, 50], "subsets": "near far"}
  rows = [
    {"id": name, "landmarks": face.tolist(), **keys} for name, face in zip(IDS, POINTS, strict=True)
  ]
  short = {name: face.tolist() for name, face in zip(IDS, POINTS, strict=True)}
  return [json.dumps(rows).encode(), json.dumps(short).encode()]


def robustness_json(_: Path) -> list[bytes]:
  """A report as it is written, with two points in each curve."""
  point = {"nme": 4.5, "catastrophic": 0.5}
  curves = [
    {"name": factor.name, "unit": factor.unit, "none": factor.none, "is_log": factor.is_log}
    | {"points": [{"value": value, **point} for value in (factor.none, 2 * factor.none + 1)]}
    for factor in factors.factors(CropRule())
  ]
  about = {"dataset": "w300", "split": "val", "num_images": 202, "norm": "ic", "box": "landmarks"}
  return [json.dumps({**about, "factors": curves}).encode()]


def landmarks_npz(folder: Path) -> list[bytes]:
  extra = {"visible": np.ones((4, 5)), "box": np.tile([0.0, 0, 50, 50], (4, 1))}
  extra["subsets"] = np.array(["near", "far", "near far", ""])
  files = []
  for save in (np.savez, np.savez_compressed):
    save(folder / "seed.npz", landmarks=POINTS, ids=np.array(IDS), **extra)
    files.append((folder / "seed.npz").read_bytes())
  return files


def landmarks_npy(_: Path) -> list[bytes]:
  files = []
  for array in (POINTS, np.asfortranarray(POINTS.astype(np.float16)), POINTS.astype(">i4")):
    file = io.BytesIO()
    np.save(file, array)
    files.append(file.getvalue())
  return files


def markup_yaml(_: Path) -> list[bytes]:
  more = "\nupright: true\nrange: [290, 310]\ncategory: face\npupils: [[0], [1]]\n"
  return [custom_files.MARKUP.encode(), (custom_files.MARKUP + more).encode()]


def _custom(folder: Path) -> Path:
  """A user's dataset of two images, once."""
  if not (folder / "markup.yaml").exists():
    custom_files.write_images(folder, range(2))
  return folder


def custom_table(folder: Path) -> list[bytes]:
  custom_files.write_table(_custom(folder), custom_files.rows(range(2)))
  return [(folder / "landmarks.csv").read_bytes()]


def custom_coco(folder: Path) -> list[bytes]:
  _custom(folder)
  return [json.dumps(custom_files.coco(range(2))).encode()]


def custom_labelme(folder: Path) -> list[bytes]:
  _custom(folder)
  return [json.dumps(tool_files.labelme(0)).encode()]


def custom_label_studio(folder: Path) -> list[bytes]:
  _custom(folder)
  return [
    json.dumps(make(range(2))).encode() for make in (tool_files.label_studio, tool_files.json_min)
  ]


def custom_imglab(folder: Path) -> list[bytes]:
  _custom(folder)
  return [tool_files.imglab(range(2)).encode()]


def custom_pts(folder: Path) -> list[bytes]:
  custom_files.write_pts(_custom(folder), range(2))
  return [(folder / custom_files.name(0)).with_suffix(".pts").read_bytes()]


def _yolo(folder: Path) -> Path:
  _custom(folder)
  if not (folder / "data.yaml").exists():
    tool_files.write_yolo(folder, {"train": [0], "val": [1]})
  return folder


def yolo_labels(folder: Path) -> list[bytes]:
  return [(_yolo(folder) / "labels/train/face 00.txt").read_bytes()]


def yolo_yaml(folder: Path) -> list[bytes]:
  return [(_yolo(folder) / "data.yaml").read_bytes()]


def _members() -> Iterator[tuple[str, bytes]]:
  yield "faces/1.pts", b"version: 1\nn_points: 1\n{\n1 2\n}\n"
  yield "faces/1.jpg", encoded("JPEG")


def zips(_: Path) -> list[bytes]:
  files = []
  for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
      for name, content in _members():
        archive.writestr(name, content)
    files.append(file.getvalue())
  return files


def tars(_: Path) -> list[bytes]:
  files = []
  for mode, kind in (("w", 0), ("w:gz", 1), ("w:bz2", 2), ("w:xz", 0)):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=kind) as archive:
      for name, content in _members():
        member = tarfile.TarInfo(f"{'long ' * 30}/{name}" if kind else name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    files.append(file.getvalue())
  return files


def torch_files(_: Path) -> Sequence[bytes]:
  import torch_fan  # needs PyTorch

  some = dict(list(torch_fan.small(1).state_dict().items())[:12])
  return [torch_fan.saved(some, zipped=zipped) for zipped in (True, False)]


def torch_outlines(_: Path) -> list[bytes]:
  return [
    torch_pickles.zipped(torch_pickles.of_tensor()),
    torch_pickles.old(torch_pickles.of_tensor()),
  ]


def boxes_csv(_: Path) -> list[bytes]:
  return [b"image,x0,y0,x1,y1,id,score\na.jpg,1,2,30,40,a,0.5\nb.jpg,3,4,50,60,b,1\n"]


def boxes_json(_: Path) -> list[bytes]:
  rows = [{"image": "a.jpg", "box": [1, 2, 30, 40], "id": "a", "score": 0.5}]
  return [json.dumps(rows).encode(), b'{"a.jpg": [[1, 2, 30, 40]], "b.jpg": []}']


def metrics_jsonl(_: Path) -> list[bytes]:
  lines = [{"step": step, "loss": 1.5 / (step + 1), "test/nme_ic": None} for step in range(8)]
  return ["".join(json.dumps(line) + "\n" for line in lines).encode()]
