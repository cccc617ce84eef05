"""The one table of parsers: what reads files from outside, for fuzzers, tests and README.

Each is a function from a path to values or an `InputError`, and nothing else.
"""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fuzz_seeds as seeds

from fal_jax import custom_markup
from fal_jax.errors import InputError
from fal_jax.images import deep_values, read_header, read_image
from fal_jax.network_report import robustness
from fal_jax.output import metric_log
from fal_jax.photos import box_file
from fal_jax.scoring import annotations, faces, landmark_files
from fal_jax.torch_import import outline
from tfds_builders.common import archives, mat
from tfds_builders.common.pts import read_pts
from tfds_builders.common.validate import Finding
from tfds_builders.custom import sources
from tfds_builders.custom.annotation import find_image, index_images
from tfds_builders.wflw import lists


@dataclasses.dataclass(frozen=True)
class Parser:
  """What reads one kind of file.

  Attributes:
    name: for --parser.
    modules: where it is read: a parser of these that is in no other module.
    file: what the file is called in the folder of a case.
    seeds: writes into a folder what must lie beside the file, and gives genuine contents of it.
    read: reads the file at a path.
    raises: what may come out instead of a value.
    package: what must be installed for it.
    lists: whether all that can be wrong is listed as findings.
    slow: how many times fewer cases the tests try, because one takes so long.
  """

  name: str
  modules: Sequence[str]
  file: str
  seeds: Callable[[Path], Sequence[bytes]]
  read: Callable[[Path], object]
  raises: tuple[type[Exception], ...] = (InputError,)
  package: str = ""
  lists: bool = False
  slow: int = 1


def _wflw(path: Path) -> object:
  return [lists.parse_line(line) for _, line in lists.read_lines(path)]


def _image(path: Path) -> object:
  return read_image(path, upright=True, value_range=(0, 1000))


def _header(path: Path) -> object:
  data = path.read_bytes()
  return read_header(data, name=str(path)), deep_values(data, name=str(path))


def _mat5(path: Path) -> object:
  variables = mat.read_mat(path, ["pts_2d", "nameList"])
  return mat.numbers(variables["pts_2d"], (5, 2), what=f"{path}: pts_2d")


def _mat73(path: Path) -> object:
  variables = mat.read_mat73(path, ["phisT", "bboxesT"])
  kinds = mat.read_cell_kinds(path, "IsT")
  pixels = [mat.read_cell(path, "IsT", index) for index, kind in enumerate(kinds) if kind]
  return mat.numbers(variables["phisT"], (None, 87), what=f"{path}: phisT"), pixels


def _landmarks(path: Path) -> object:
  return faces.from_file(landmark_files.read(path))


def _codec_report(path: Path) -> object:
  return annotations.read_npz(path, num_landmarks=5)


def _custom(path: Path) -> object:
  """All of a user's folder, one file of which is damaged."""
  root = next(folder for folder in path.parents if (folder / "markup.yaml").is_file())
  content = custom_markup.read_file(root / "markup.yaml")
  files = sorted(root.rglob("*"))
  images = [file for file in files if file.suffix == ".png"]
  findings: list = []
  index = index_images(root, images)
  annotated = sources.read_folder(root, files, images, content=content, findings=findings)
  for face in annotated:
    try:
      find_image(root, face.image, index)
    except InputError as error:
      findings.append(Finding(face.where, str(error)))
  for finding in findings:  # which are sentences, too
    assert len(finding.message) < MAX_FINDING and "\n" not in finding.message, finding.message
  return annotated


def _unpack(path: Path) -> object:
  into = path.parent / "unpacked"
  into.mkdir()
  try:
    return archives.extract([path], into)
  finally:
    shutil.rmtree(into)


def _torch(path: Path) -> object:
  from fal_jax.torch_import import state_dict

  return state_dict.read_state_dict(path)


def _metrics(path: Path) -> object:
  return metric_log.read(path.parent)


MAX_FINDING = 800  # characters
_CUSTOM = "tfds_builders.custom."

PARSERS = (
  Parser(
    "pts",
    ["tfds_builders.common.pts"],
    "a.pts",
    seeds.pts,
    lambda path: read_pts(path, num_landmarks=68, origin=1),
  ),
  Parser("wflw_list", ["tfds_builders.wflw.lists"], "list.txt", seeds.wflw_list, _wflw),
  Parser("image", ["fal_jax.parsing.pixels"], "a.jpg", seeds.ordinary_images, _image),
  Parser("image_rare", ["fal_jax.parsing.pixels"], "a.tif", seeds.rare_images, _image),
  Parser("image_header", ["fal_jax.parsing.pixels"], "a.jpg", seeds.all_images, _header),
  Parser("mat5", ["tfds_builders.common.mat_reader"], "a.mat", seeds.mat5, _mat5, slow=2),
  Parser("mat73", ["tfds_builders.common.mat_reader"], "a.mat", seeds.mat73, _mat73, slow=2),
  Parser("score_csv", ["fal_jax.scoring.landmark_csv"], "a.csv", seeds.landmarks_csv, _landmarks),
  Parser(
    "score_json", ["fal_jax.scoring.landmark_json"], "a.json", seeds.landmarks_json, _landmarks
  ),
  Parser(
    "robustness_json",
    ["fal_jax.network_report.robustness"],
    "a.json",
    seeds.robustness_json,
    lambda path: robustness.describe({"a": robustness.read(path)}),
  ),
  Parser(
    "score_npz", ["fal_jax.scoring.landmark_arrays"], "a.npz", seeds.landmarks_npz, _landmarks
  ),
  Parser(
    "score_npy", ["fal_jax.scoring.landmark_arrays"], "a.npy", seeds.landmarks_npy, _landmarks
  ),
  Parser(
    "codec_npz", ["fal_jax.scoring.landmark_arrays"], "a.npz", seeds.landmarks_npz, _codec_report
  ),
  Parser(
    "markup_yaml",
    ["fal_jax.parsing.plain_yaml"],
    "markup.yaml",
    seeds.markup_yaml,
    custom_markup.read_file,
  ),
  Parser("custom_csv", [_CUSTOM + "table"], "landmarks.csv", seeds.custom_table, _custom, slow=2),
  Parser("custom_coco", [_CUSTOM + "coco"], "annotations.json", seeds.custom_coco, _custom, slow=2),
  Parser(
    "custom_labelme",
    [_CUSTOM + "labelme", _CUSTOM + "json_files"],
    "images/face 00.json",
    seeds.custom_labelme,
    _custom,
    slow=2,
  ),
  Parser(
    "custom_label_studio",
    [_CUSTOM + "label_studio"],
    "export.json",
    seeds.custom_label_studio,
    _custom,
    slow=2,
  ),
  Parser("custom_imglab", [_CUSTOM + "imglab"], "faces.xml", seeds.custom_imglab, _custom, slow=2),
  Parser(
    "custom_pts",
    [_CUSTOM + "pairs"],
    "images/face 00.pts",
    seeds.custom_pts,
    _custom,
    lists=True,
    slow=2,
  ),
  Parser(
    "custom_yolo",
    [_CUSTOM + "yolo"],
    "labels/train/face 00.txt",
    seeds.yolo_labels,
    _custom,
    lists=True,
    slow=4,
  ),
  Parser("custom_yolo_yaml", [_CUSTOM + "yolo"], "data.yaml", seeds.yolo_yaml, _custom, slow=4),
  Parser("zip", ["tfds_builders.common.archives"], "a.zip", seeds.zips, _unpack),
  Parser("tar", ["tfds_builders.common.archives"], "a.tar", seeds.tars, _unpack),
  Parser(
    "torch",
    ["fal_jax.torch_import.torch_file", "fal_jax.torch_import.state_dict"],
    "a.pth",
    seeds.torch_files,
    _torch,
    package="torch",
    slow=4,
  ),
  Parser(
    "torch_outline",
    ["fal_jax.torch_import.outline"],
    "a.pth",
    seeds.torch_outlines,
    outline.check,
  ),
  Parser("boxes_csv", ["fal_jax.photos.box_file"], "a.csv", seeds.boxes_csv, box_file.read),
  Parser("boxes_json", ["fal_jax.photos.box_file"], "a.json", seeds.boxes_json, box_file.read),
  Parser("metrics", ["fal_jax.output.metric_log"], "metrics.jsonl", seeds.metrics_jsonl, _metrics),
)


def find(names: Sequence[str]) -> list[Parser]:
  """The parsers of these names, all for none."""
  known = {parser.name: parser for parser in PARSERS}
  if unknown := [name for name in names if name not in known]:
    sys.exit(f"There is no parser {unknown[0]!r}; there are {', '.join(known)}.")
  return [known[name] for name in names] or list(PARSERS)
