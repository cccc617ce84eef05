"""Which of the formats a folder holds, and reading that one.

Exactly one is read. Landmarks in two formats may be two opinions, so they are refused.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fal_jax.custom_markup import MarkupFile
from fal_jax.errors import InputError, join_names
from tfds_builders.common.validate import Finding
from tfds_builders.custom import roboflow
from tfds_builders.custom.annotation import Annotation, images_of_stem, index_stems
from tfds_builders.custom.coco import read_coco
from tfds_builders.custom.imglab import read_imglab, root_element
from tfds_builders.custom.json_files import read_json
from tfds_builders.custom.label_studio import is_label_studio, read_label_studio
from tfds_builders.custom.labelme import is_labelme, read_labelme
from tfds_builders.custom.named_points import to_annotations
from tfds_builders.custom.pairs import read_pairs
from tfds_builders.custom.splits import LISTS
from tfds_builders.custom.table import read_table
from tfds_builders.custom.unread import nothing_read
from tfds_builders.custom.yolo import is_label_file, read_yolo

MARKUP_FILE = "markup.yaml"
TABLES = ("landmarks.csv", "predictions.csv")  # the second is what --mode=predict writes
COCO = "annotations.json"
YOLO = "data.yaml"
_EXPECTED = (
  f"{TABLES[0]}, {COCO} (COCO), .pts files beside the images, labelme's JSON, label-studio's JSON, "
  "imglab's XML, Roboflow's folders or YOLO's pose labels"
)
_KINDS = ("table", "COCO", "Roboflow", "pts", "labelme", "label-studio", "imglab", "YOLO")
# The file that README names, and that is meant whatever else of its format lies there.
_NAMED = {"table": TABLES[0], "COCO": COCO, "YOLO": YOLO}

# What a tool calls the centre of the first pixel.
_OWN_ORIGINS = {"labelme": 0.5, "label-studio": 0.5, "imglab": 0.0, "YOLO": 0.5}
_WHOLE_BODY = b'"face_kpts"'


def read_folder(
  root: Path,
  files: Sequence[Path],
  images: Sequence[Path],
  *,
  content: MarkupFile,
  findings: list[Finding],
) -> list[Annotation]:
  """Reads whichever of the formats is there.

  Args:
    root: the dataset's folder.
    files: all that is below it.
    images: those that are images.
    content: the mark-up file's content.
    findings: what is wrong with single faces is added here.

  Returns:
    The faces in the order of their files.

  Raises:
    InputError: there is no format or more than one, or a file is not of its format.
  """
  files = [file for file in files if file.is_file()]
  parsed = _parse(root, files)
  kinds = {file: _kind(root, file, parsed) for file in files}
  sources = {kind: [file for file in files if kinds[file] == kind] for kind in _KINDS}
  sources = {kind: _named_first(root, kind, own) for kind, own in sources.items() if own}
  if len(sources) > 1:
    found = " and ".join(_name(root, file) for file, *_ in sources.values())
    raise InputError(f"{root} holds the landmarks more than once, in {found}: keep one.")
  if not sources:
    raise nothing_read(root, files, parsed, expected=_EXPECTED, table=TABLES[0])

  ((kind, own),) = sources.items()
  _note_origin(kind, _name(root, own[0]), content.origin, findings)
  if kind in _NAMED:
    _check_alone(root, kind, own, findings)

  num, origin, names = content.markup.num, content.origin, content.markup.names
  if kind == "table":
    return read_table(own[0], num_landmarks=num, origin=origin, findings=findings)
  if kind == "COCO":
    return _read_coco(own[0], content, findings)
  if kind == "pts":
    return read_pairs(root, own, images, num_landmarks=num, origin=origin, findings=findings)

  if kind == "Roboflow":
    annotations = roboflow.read_roboflow(root, own, content=content, findings=findings)
    return _split_by_lists(root, annotations)
  if kind == "YOLO":
    labels = [file for file in files if is_label_file(root, file)]
    annotations = read_yolo(
      root, labels, images, description=own[0], content=content, findings=findings
    )
    return _split_by_lists(root, annotations)

  faces = []
  for file in own:
    if kind == "labelme":
      faces += read_labelme(root, file, parsed[file], origin=origin, findings=findings)
    elif kind == "label-studio":
      faces += read_label_studio(_name(root, file), parsed[file], origin=origin, findings=findings)
    else:
      faces += read_imglab(root, file, origin=origin, findings=findings)
  if kind == "labelme":
    _find_other_json(root, parsed, images, findings)
  source = f"{root}, {join_names([_name(root, file) for file in own], limit=2)}"
  return to_annotations(faces, source=source, names=names, findings=findings)


def _name(root: Path, file: Path) -> str:
  return file.relative_to(root).as_posix()


def _parse(root: Path, files: Sequence[Path]) -> dict[Path, Any]:
  """The content of JSON files below the root; an `InputError` where one is not JSON.

  COCO files that are known by their names are not read here, and the images inside labelme's are
  let go.
  """
  parsed: dict[Path, Any] = {}
  for file in files:
    if file.suffix.lower() != ".json" or file.name == roboflow.FILE:
      continue
    if file == root / COCO and not _start(file).lstrip().startswith(b"["):
      continue
    try:
      parsed[file] = read_json(file)
    except InputError as error:
      parsed[file] = error
    if is_labelme(parsed[file]):
      parsed[file].pop("imageData", None)
  return parsed


def _start(file: Path, *, num_bytes: int = 2**16) -> bytes:
  """The first bytes of a file, none if it cannot be read, which its reader will report."""
  try:
    with file.open("rb") as stream:
      return stream.read(num_bytes).removeprefix(b"\xef\xbb\xbf")
  except OSError:
    return b""


def _kind(root: Path, file: Path, parsed: Mapping[Path, Any]) -> str | None:
  """The format of which a file is a sign."""
  content = parsed.get(file)
  suffix = file.suffix.lower()
  if file.parent == root and file.name in TABLES:
    return "table"
  if file.name == roboflow.FILE:
    return "Roboflow" if file.parent.name in roboflow.SPLITS else "COCO"
  if suffix == ".pts":
    return "pts"
  if is_labelme(content):
    return "labelme"
  if is_label_studio(content):
    return "label-studio"
  if file == root / COCO or (isinstance(content, dict) and {"images", "annotations"} <= {*content}):
    return "COCO"
  if suffix == ".xml" and root_element(file) == "dataset":
    return "imglab"
  if suffix in (".yaml", ".yml") and file != root / MARKUP_FILE and b"kpt_shape:" in _start(file):
    return "YOLO"
  return None


def _named_first(root: Path, kind: str, files: Sequence[Path]) -> list[Path]:
  """The files of one format, that of the name which README gives first."""
  named = root / _NAMED.get(kind, "")
  return sorted(files, key=lambda file: file != named)


def _check_alone(root: Path, kind: str, files: Sequence[Path], findings: list[Finding]) -> None:
  """Refuses several files of a format of one file, unless the first has the name README gives."""
  if len(files) == 1:
    return
  names = [_name(root, file) for file in files]
  if names[0] != _NAMED[kind]:
    raise InputError(
      f"{root} holds several files of one format, {join_names(names)}: "
      f"keep one, or call the right one {_NAMED[kind]}."
    )
  findings += [Finding(name, f"not read, since {names[0]} is", "note") for name in names[1:]]


def _read_coco(file: Path, content: MarkupFile, findings: list[Finding]) -> list[Annotation]:
  """`read_coco`, and a word on COCO-WholeBody where that fails."""
  advice = (
    "it is of COCO-WholeBody, whose landmarks of the face stand in face_kpts, which is not read: "
    "write them as keypoints"
  )
  own: list[Finding] = []
  try:
    annotations = read_coco(
      file,
      markup=content.markup,
      origin=content.origin,
      findings=own,
      categories=content.categories,
    )
  except InputError as error:
    if _WHOLE_BODY in file.read_bytes():
      raise InputError(f"{str(error).rstrip('.')}; {advice}.") from error
    raise

  findings += own
  has_errors = any(finding.severity == "error" for finding in own)
  if has_errors and _WHOLE_BODY in file.read_bytes():
    findings.append(Finding(file.name, advice))
  return annotations


def _split_by_lists(root: Path, annotations: list[Annotation]) -> list[Annotation]:
  """The faces without the splits of their folders where lists beside the mark-up file give them."""
  if not any((root / name).is_file() for name in LISTS):
    return annotations
  return [dataclasses.replace(face, split=None) for face in annotations]


def _find_other_json(
  root: Path, parsed: Mapping[Path, Any], images: Sequence[Path], findings: list[Finding]
) -> None:
  """Adds a finding for each JSON file among labelme's that is not one of them."""
  index = index_stems(root, images)
  for file, content in parsed.items():
    if isinstance(content, InputError):
      findings.append(Finding.from_error(_name(root, file), content, path=file))
    elif not is_labelme(content):
      message = "not labelme's, it has no shapes or no imagePath"
      is_beside = images_of_stem(_name(root, file.with_suffix("")), index)
      findings.append(Finding(_name(root, file), message, "error" if is_beside else "note"))


def _note_origin(kind: str, where: str, origin: float, findings: list[Finding]) -> None:
  """Warns where the mark-up file says another origin than the tool has."""
  own = _OWN_ORIGINS.get(kind, origin)
  if own != origin:
    message = (
      f"{kind} itself calls the first pixel's centre {own:g}, and {MARKUP_FILE} says "
      f"origin: {origin:g}, which is right only if another program wrote the file"
    )
    findings.append(Finding(where, message, "warning"))
