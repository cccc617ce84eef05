"""imglab's XML, dlib's format for boxes with parts, as of dlib's own tool and the one in browsers.

Parts are landmarks, named as in the mark-up or by their numbers, `00` to `67`. dlib counts pixels
from 0, so that a whole number is a pixel's centre: `origin: 0`. A box covers whole pixels, `left`
to `left + width - 1`, and here reaches half a pixel around their centres.

Source: dlib/data_io/image_dataset_metadata.cpp (elements, attributes, and the rectangle's last
pixel); dataformaters/dlib.js of NaturalIntelligence/imglab, which writes the same.
"""

import re
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from tfds_builders.common.files import unreadable
from tfds_builders.common.text import check_size, decimal
from tfds_builders.common.validate import Finding
from tfds_builders.custom.annotation import beside
from tfds_builders.custom.json_files import shown
from tfds_builders.custom.named_points import NamedFace

_LINE = "\n"  # no attribute of a file can be called so
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)  # one without an end is looked at once
_ELEMENT = re.compile(rb"<([A-Za-z_][A-Za-z0-9_.-]*)[\s/>]")
_SIGNS = {
  expat.errors.codes[name]
  for name in (expat.errors.XML_ERROR_INVALID_TOKEN, expat.errors.XML_ERROR_UNDEFINED_ENTITY)
}


def root_element(file: Path) -> str:
  """The name of an XML file's outermost element; "" where that cannot be told."""
  try:
    with file.open("rb") as stream:
      start = _COMMENT.sub(b"", stream.read(2**16))
  except OSError:
    return ""
  match = _ELEMENT.search(start)
  return match[1].decode("ascii") if match else ""


def read_imglab(
  root: Path, file: Path, *, origin: float, findings: list[Finding]
) -> list[NamedFace]:
  """Reads the faces of all images.

  The one place where dlib's convention becomes ours: `origin` is subtracted, and from boxes half a
  pixel more, because they are given by the pixels that they cover.

  Args:
    root: the dataset's folder.
    file: the XML file, from whose folder the images' paths lead.
    origin: 0, 0.5 or 1.
    findings: what is wrong with single boxes is added here.

  Returns:
    The faces in the order of the file.

  Raises:
    InputError: it is not XML, or has a document type, with which entities may grow without bounds.
  """
  check_size(file, limits.MAX_XML_BYTES)
  try:
    data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
  except OSError as error:
    raise unreadable(file, error) from error

  try:
    tree = _tree(data)
  except expat.ExpatError as error:
    names = " (write & and ' in names as &amp; and &apos;)" if error.code in _SIGNS else ""
    raise InputError(
      f"{file}, line {error.lineno}: not XML, {expat.ErrorString(error.code)}{names}."
    ) from error
  except InputError as error:
    raise InputError(f"{file}: {error}.") from error
  except (LookupError, ValueError) as error:  # of the encoding that it declares
    raise InputError(f"{file}: not XML, {cut(str(error))}: save it as UTF-8.") from error

  faces = []
  for image in tree.iter("image"):
    name = beside(root, file, image.get("file", ""))
    for box in image.iter("box"):
      where = f"{file.relative_to(root).as_posix()}, line {box.get(_LINE)}"
      if box.get("ignore") in ("1", "true"):
        findings.append(Finding(where, "a box with ignore='1', left out", "note"))
        continue
      try:
        points = [_part(part, origin) for part in box.iter("part")]
        corners, size = _corners(box, origin), _size(image)
        faces.append(NamedFace(where, name, points, box=corners, size=size))
      except InputError as error:
        findings.append(Finding(where, str(error)))
        faces.append(NamedFace(where, name, is_bad=True))
  return faces


def _tree(data: bytes) -> Element:
  """The elements of an XML file, each with the number of its line as the attribute `_LINE`.

  Raises:
    ExpatError: it is not XML.
    InputError: it has entities, or is nested too deeply.
  """
  builder = TreeBuilder()
  parser = _parser(data)
  depth = 0

  def start(name: str, attributes: dict[str, str]) -> None:
    nonlocal depth
    depth += 1
    if depth > limits.MAX_XML_DEPTH:
      raise InputError(
        f"line {parser.CurrentLineNumber}: elements are nested {depth} deep, expected "
        "dataset, images, image, box and part"
      )
    builder.start(name, {**attributes, _LINE: str(parser.CurrentLineNumber)})

  def end(name: str) -> None:
    nonlocal depth
    depth -= 1
    builder.end(name)

  parser.StartElementHandler = start
  parser.EndElementHandler = end
  parser.Parse(data, True)
  return builder.close()


def _parser(data: bytes) -> expat.XMLParserType:
  """A parser without entities.

  dlib declares ISO-8859-1 and writes the bytes of file names as they are, which are UTF-8 today.
  """
  try:
    data.decode("utf-8")
    parser = expat.ParserCreate("utf-8")
  except UnicodeDecodeError:
    parser = expat.ParserCreate()

  def refuse(*_: object) -> int:
    raise InputError("it has a document type or entities, which are not read: remove them")

  parser.StartDoctypeDeclHandler = refuse
  parser.EntityDeclHandler = refuse
  parser.ExternalEntityRefHandler = refuse
  parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
  return parser


def _part(part: Element, origin: float) -> tuple[str, float, float]:
  """Name, x and y of a landmark, image px."""
  x, y = (_number(part, key) - origin for key in "xy")
  return part.get("name", ""), x, y


def _corners(box: Element, origin: float) -> tuple[float, float, float, float]:
  """x0, y0, x1, y1 image px, half a pixel around the pixels that the box covers."""
  left, top, width, height = (_number(box, key) for key in ("left", "top", "width", "height"))
  if width <= 0 or height <= 0:
    raise InputError(f"its box has width {width:g} and height {height:g}, expected both above 0")
  x, y = left - origin - 0.5, top - origin - 0.5
  return x, y, x + width, y + height


def _size(image: Element) -> tuple[int, int] | None:
  """(width, height) of the image, which newer versions of dlib write."""
  if image.get("width") is None or image.get("height") is None:
    return None
  return int(_number(image, "width")), int(_number(image, "height"))


def _number(element: Element, key: str) -> float:
  text = element.get(key)
  if text is None:
    raise InputError(f"a {element.tag} lacks the attribute {key}")
  try:
    number = decimal(text.strip())
  except InputError as error:
    raise InputError(f"{key} of a {element.tag}: {error}") from error
  if abs(number) > 1e9:
    raise InputError(f"{key} of a {element.tag} is {shown(text)}, which is no pixel")
  return number
