"""What the pixels of a user's images are: stored or turned upright, and which are black and white.

Most tools show photographs upright, as their EXIF orientation says, and annotate what they show;
some do not. The pixels that landmarks belong to are written into the dataset, so that whoever reads
it has nothing to decide.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from fal_jax.custom_markup import MarkupFile
from fal_jax.errors import InputError
from fal_jax.images import deep_values, read_header, read_image
from tfds_builders.common.validate import Finding, ImageFile
from tfds_builders.custom.annotation import Annotation

_QUANTILES = 0.001, 0.999  # of an image's values: a few pixels may be broken or saturated
_SAMPLE = 1_000_000  # values that are looked at, evenly spread over an image
_FEW_LEVELS = 128  # of 256
_MANY_CLIPPED = 0.05


@dataclasses.dataclass(frozen=True)
class Stored:
  """What an image file holds.

  Attributes:
    size: (width, height) of the stored pixels.
    orientation: of the EXIF block, 1 to 8; 1 is upright.
    values: where there are more than 8 bits per channel, the lowest and the highest value but for
      a thousandth of the pixels on either side.
    clipped: the share of the pixels outside the range that the user gives, 0 to 1.
  """

  size: tuple[int, int]
  orientation: int
  values: tuple[float, float] | None = None
  clipped: float = 0.0

  @property
  def is_turned(self) -> bool:
    """Whether upright is not how the pixels are stored."""
    return 2 <= self.orientation <= 8

  def size_if(self, upright: bool) -> tuple[int, int]:
    """(width, height) of the image as stored, or turned upright."""
    return self.size[::-1] if upright and 5 <= self.orientation <= 8 else self.size


@dataclasses.dataclass(frozen=True)
class TurnedImage:
  """An image file whose pixels are not taken as they are stored, see `validate.ImageFile`.

  Attributes:
    path: the file.
    upright: whether it is turned as its EXIF orientation says.
    value_range: which values become black and white, see `images.read_image`.
  """

  path: Path
  upright: bool
  value_range: tuple[float, float] | None

  def read_bytes(self) -> bytes:
    """A PNG file of the pixels, without loss; the file as it is if it cannot be decoded."""
    data = self.path.read_bytes()
    try:
      pixels = read_image(data, upright=self.upright, value_range=self.value_range)
    except InputError:
      return data  # whoever decodes it says what is wrong

    is_grey = (pixels == pixels[..., :1]).all()
    encoded = cv2.imencode(".png", pixels[..., 0] if is_grey else pixels[..., ::-1])[1]
    return encoded.tobytes()


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Which pixels of the images of a dataset are taken.

  Attributes:
    stored: what each image holds, by its path below the root; None for a file that cannot be read,
      which the check of images will refuse.
    upright: whether images are turned as their EXIF orientation says.
    value_range: what becomes black and white in images of more than 8 bits per channel.
  """

  stored: Mapping[str, Stored | None]
  upright: bool
  value_range: tuple[float, float] | None

  def image(self, root: Path, name: str) -> ImageFile:
    """The file itself wherever its pixels are taken as they are stored."""
    stored = self.stored[name]
    turned = stored is not None and stored.is_turned and self.upright
    stretched = stored is not None and stored.values is not None and self.value_range is not None
    if turned or stretched:
      return TurnedImage(root / name, self.upright, self.value_range)
    return root / name

  def check_size(self, face: Annotation, name: str) -> Finding | None:
    """Compares the size that an annotation file gives with the image's.

    Args:
      face: may give one.
      name: of its image.

    Returns:
      An error if it is another; a note if it is that of the pixels as the user says they are not.
    """
    stored = self.stored[name]
    if stored is None or face.size is None or face.size == stored.size_if(self.upright):
      return None

    if stored.is_turned and face.size == stored.size_if(not self.upright):
      other = "the stored pixels" if self.upright else "the image turned as its EXIF says"
      message = (
        f"the file's width and height are those of {other}, but `upright: "
        f"{str(self.upright).lower()}` in markup.yaml decides"
      )
      return Finding(name, message, "note")

    sizes = face.size, stored.size_if(self.upright)
    expected, got = (f"{width} x {height}" for width, height in sizes)
    message = f"width and height of {name} should be {expected}, they are {got}: turned or resized?"
    return Finding(face.where, message)


def read_pixels(
  root: Path,
  faces_of_image: Mapping[str, Sequence[Annotation]],
  content: MarkupFile,
  findings: list[Finding],
) -> Pixels:
  """Looks at all images, and decides how they are read.

  Args:
    root: the dataset's folder.
    faces_of_image: path below it -> faces.
    content: the mark-up file.
    findings: what is to be said is added here.

  Returns:
    The decision.

  Raises:
    InputError: nothing tells how images are to be turned, or the range is for other images.
  """
  stored = _read_stored(root, list(faces_of_image), content)
  upright = _decide_upright(faces_of_image, stored, content, findings)
  _check_values(stored, content, findings)
  return Pixels(stored, upright, content.value_range)


def _read_stored(root: Path, names: Sequence[str], content: MarkupFile) -> dict[str, Stored | None]:
  """Looks at the headers of images, and at the values of those of more than 8 bits."""

  def look(name: str) -> Stored | None:
    try:
      data = (root / name).read_bytes()
      width, height, _, orientation = read_header(data, name=name)
      stored = Stored((width, height), orientation)
      values = deep_values(data, name=name)
    except (InputError, OSError):
      return None
    if values is None:
      return stored

    sample = values[..., :3].ravel() if values.ndim == 3 else values.ravel()
    sample = sample[:: max(sample.size // _SAMPLE, 1)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
      return stored
    low, high = np.quantile(sample, _QUANTILES).tolist()
    darkest, brightest = content.value_range or (-math.inf, math.inf)
    clipped = float(((sample < darkest) | (sample > brightest)).mean())
    return dataclasses.replace(stored, values=(low, high), clipped=clipped)

  with ThreadPoolExecutor(os.cpu_count()) as pool:
    return dict(zip(names, pool.map(look, names), strict=True))


def _decide_upright(
  faces_of_image: Mapping[str, Sequence[Annotation]],
  stored: Mapping[str, Stored | None],
  content: MarkupFile,
  findings: list[Finding],
) -> bool:
  """Whether the landmarks belong to the images turned as their EXIF orientation says.

  The mark-up file says so, or the sizes that an annotation file gives where they are those of the
  turned images. The stored size tells nothing: there are tools that give it beside landmarks of
  what they show.

  Args:
    faces_of_image: path below the root -> faces.
    stored: what each image holds.
    content: the mark-up file.
    findings: what is to be said is added here.

  Returns:
    False if it makes no difference.

  Raises:
    InputError: it makes one, and nothing tells.
  """
  turned = {name: image for name, image in stored.items() if image and image.is_turned}
  if not turned:
    return False

  fits = {
    upright: {name for name, image in turned.items() if _fit(faces_of_image[name], image, upright)}
    for upright in (False, True)
  }
  upright = content.upright
  if upright is None:
    upright = _upright_by_size(faces_of_image, turned)
    if upright is None:
      raise InputError(_question(content, list(turned), len(fits[True] - fits[False])))
    message = (
      "turned upright as its EXIF orientation says, because the width and height beside the "
      "landmarks are those of the turned image"
    )
    findings += [Finding(name, message, "note") for name in turned]
  elif upright:
    message = "turned upright as its EXIF orientation says"
    findings += [Finding(name, message, "note") for name in turned]

  message = (
    "has an EXIF orientation, and landmarks outside the image that would lie inside it with "
    f"`upright: {str(not upright).lower()}` in markup.yaml"
  )
  findings += [Finding(name, message, "warning") for name in fits[not upright] - fits[upright]]
  return upright


def _check_values(
  stored: Mapping[str, Stored | None], content: MarkupFile, findings: list[Finding]
) -> None:
  """Says what becomes of images of more than 8 bits per channel.

  Args:
    stored: what each image holds.
    content: the mark-up file, which may give a range.
    findings: what is to be said is added here.

  Raises:
    InputError: the mark-up file gives a range, and no image has more than 8 bits.
  """
  deep = {name: image for name, image in stored.items() if image and image.values}
  given = content.value_range
  if given and not deep:
    raise InputError(
      f"{content.name}: `range` in markup.yaml is for images of more than 8 bits per channel, and "
      "there are none: leave it out."
    )
  if not deep:
    return

  lows, highs = np.array([image.values for image in deep.values()]).T
  spans = (lows.min(), highs.max()), (np.quantile(lows, 0.05), np.quantile(highs, 0.95))
  if given:
    share = float(np.mean([image.clipped for image in deep.values()]))
    if share > _MANY_CLIPPED:
      message = (
        f"{share:.0%} of the pixels of images of more than 8 bits are outside `range: "
        f"{_range(*given)}`, and become black or white; most are within {_range(*spans[0])}"
      )
      findings += [Finding(name, message, "warning") for name in deep]
    others = [name for name, image in stored.items() if image and not image.values]
    message = "has 8 bits per channel: `range` is not applied to it"
    findings += [Finding(name, message, "note") for name in others]
    return

  for low, high in spans:  # one odd image among many must not hide that the others are flat
    levels = round(high / 257) - round(low / 257) + 1
    if levels < _FEW_LEVELS and high > low:
      message = (
        f"of 65,536 values few are used, so that {levels} of 256 grey levels are left: "
        f"`range: {_range(low, high)}` in markup.yaml makes these black and white"
      )
      findings += [Finding(name, message, "warning") for name in deep]
      return


def _fit(faces: Sequence[Annotation], stored: Stored, upright: bool) -> bool:
  """Whether all landmarks lie inside the image as stored or turned."""
  border = np.array(stored.size_if(upright)) - 0.5
  points = [face.landmarks for face in faces if face.landmarks is not None]
  outside = [(each < -0.5) | (each > border) for each in points]  # NaN is not
  return not any(each.any() for each in outside)


def _upright_by_size(
  faces_of_image: Mapping[str, Sequence[Annotation]], turned: Mapping[str, Stored]
) -> bool | None:
  """What the sizes in an annotation file say; None where they do not tell, or contradict."""
  are_upright = [
    face.size == stored.size_if(True)
    for name, stored in turned.items()
    for face in faces_of_image[name]
    if face.size and stored.size_if(True) != stored.size_if(False)
  ]
  return True if are_upright and all(are_upright) else None


def _question(content: MarkupFile, turned: Sequence[str], fit_upright_only: int) -> str:
  """The sentence that asks for the key `upright`."""
  hint = ""
  if fit_upright_only:
    hint = f" (true, it seems: in {fit_upright_only} of them they lie outside the stored pixels)"
  count = "1 image has" if len(turned) == 1 else f"{len(turned)} images have"
  return (
    f"{content.name}: {count} an EXIF orientation, the first is {turned[0]}, and nothing tells "
    "which pixels the landmarks belong to: write into markup.yaml `upright: true` if they were set "
    "on images turned upright, as most tools show them, or `upright: false` if on the pixels as "
    f"they are stored{hint}."
  )


def _range(low: float, high: float) -> str:
  """Two values as the mark-up file has them, whole numbers where they are large."""
  if high - low > 10:
    low, high = math.floor(low), math.ceil(high)
  return f"[{low:.10g}, {high:.10g}]"
