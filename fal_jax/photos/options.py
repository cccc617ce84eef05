"""The flags of --mode=predict, and what they say together.

Nothing heavy is imported here: a mistake in a flag is answered at once.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from fal_jax.errors import InputError
from fal_jax.output import folders

DEFAULT_WEIGHTS = "free-68"

IMAGES = flags.DEFINE_multi_string(
  "images",
  [],
  "predict: image files, folders and patterns such as 'holiday/*.jpg', separated by commas or with "
  "the flag repeated.",
)
RECURSIVE = flags.DEFINE_bool("recursive", False, "predict: also folders in the folders named.")
OUT = flags.DEFINE_string(
  "out",
  None,
  "predict: folder for the results, default predictions; eval: instead of eval/ in the workdir; "
  "export: the folder that is written.",
)
BOX = flags.DEFINE_multi_string(
  "box",
  [],
  "predict: x0,y0,x1,y1 of a face in image pixels, in every image; repeated for several faces. "
  "Default: faces are found.",
)
BOXES = flags.DEFINE_string(
  "boxes", None, "predict: .csv (image,x0,y0,x1,y1) or .json with the faces of each image."
)
WHOLE_IMAGE = flags.DEFINE_bool("whole_image", False, "predict: each image is one face.")
DETECTOR = flags.DEFINE_string(
  "detector",
  None,
  "predict: what finds faces: mtcnn, yunet, or the path of YuNet's file; export: mtcnn or none.",
)
SMALL_FACES = flags.DEFINE_bool("small_faces", False, "predict: look for small faces too; slower.")
TURNED_FACES = flags.DEFINE_bool(
  "turned_faces", False, "predict: look for faces on their side or upside down too; slower."
)
MIN_SCORE = flags.DEFINE_float(
  "min_score", 0.0, "predict: faces whose mean landmark score is lower are left out, and named."
)
REFINE = flags.DEFINE_integer(
  "refine",
  0,
  "predict: how often the box of the predicted landmarks is cut out again.",
  lower_bound=0,
)
DECODE = flags.DEFINE_string(
  "decode", None, "predict, export: another decoder than the network's own."
)
SMOOTH = flags.DEFINE_bool(
  "smooth", False, "predict: smooth the landmarks of videos from frame to frame; costs some lag."
)
PTS = flags.DEFINE_bool("pts", False, "predict: also write iBUG's .pts files.")
OVERLAYS = flags.DEFINE_bool("overlays", True, "predict: draw each image with its landmarks.")


@dataclasses.dataclass(frozen=True)
class Options:
  """What is to be predicted, and how.

  Attributes:
    images: files, folders and patterns, as the user named them.
    weights: a network that comes with the package, or the folder of a run.
    out: folder for the results.
    recursive: whether folders in folders are looked into.
    box: x0, y0, x1, y1, image px, of the faces in every image.
    boxes: file with the boxes of each image.
    whole_image: whether each image is one face.
    detector: what finds faces if none of these three is given; None for the best there is.
    small_faces: whether it looks for small faces too.
    turned_faces: whether it looks for faces that are not upright too.
    min_score: mean landmark score below which a face is left out.
    decode: another decoder than the network's own.
    refine: how often the box of the predicted landmarks is cut out again.
    views: looks at each face.
    smooth: whether the landmarks of videos are smoothed.
    pts: whether .pts files are written.
    overlays: whether images with their landmarks are drawn.
    heatmaps: landmarks, by number or name, whose heatmaps are drawn for each face of a photograph.
  """

  images: tuple[str, ...]
  weights: str = DEFAULT_WEIGHTS
  out: Path = Path("predictions")
  recursive: bool = False
  box: tuple[tuple[float, ...], ...] = ()
  boxes: str | None = None
  whole_image: bool = False
  detector: str | None = None
  small_faces: bool = False
  turned_faces: bool = False
  min_score: float = 0.0
  decode: str | None = None
  refine: int = 0
  views: int = 1
  smooth: bool = False
  pts: bool = False
  overlays: bool = True
  heatmaps: tuple[str, ...] = ()


def read(
  *, weights: str | None, workdir: str | None, views: int | None, heatmaps: Sequence[str] = ()
) -> Options:
  """The options that the flags ask for.

  Args:
    weights: --weights.
    workdir: --workdir, another way to name the run whose network predicts.
    views: --views.
    heatmaps: --heatmaps.

  Returns:
    Options that do not contradict each other.

  Raises:
    InputError: they do, or a flag cannot be understood.
  """
  if not IMAGES.value:
    raise InputError("No image given: name files or folders with --images=photo.jpg,folder.")
  if weights and workdir:
    raise InputError(
      f"--weights={weights} and --workdir={workdir} both name the network: give one of them, and "
      "--out for where results go."
    )
  _check_one_source_of_boxes()

  return Options(
    images=tuple(IMAGES.value),
    weights=weights or workdir or DEFAULT_WEIGHTS,
    out=folders.local(OUT.value or "predictions", flag="--out"),
    recursive=RECURSIVE.value,
    box=tuple(map(_parse_box, BOX.value)),
    boxes=BOXES.value,
    whole_image=WHOLE_IMAGE.value,
    detector=DETECTOR.value,
    small_faces=SMALL_FACES.value,
    turned_faces=TURNED_FACES.value,
    min_score=MIN_SCORE.value,
    decode=DECODE.value,
    refine=REFINE.value,
    views=1 if views is None else views,
    smooth=SMOOTH.value,
    pts=PTS.value,
    overlays=OVERLAYS.value,
    heatmaps=tuple(heatmaps),
  )


def _check_one_source_of_boxes() -> None:
  """Refuses flags of which one would have to be ignored."""
  sources = {"--box": BOX.value, "--boxes": BOXES.value, "--whole_image": WHOLE_IMAGE.value}
  given = [name for name, value in sources.items() if value]
  searching = {
    "--detector": DETECTOR.value,
    "--small_faces": SMALL_FACES.value,
    "--turned_faces": TURNED_FACES.value,
  }
  given += [name for name, value in searching.items() if value][: 1 if given else 0]
  if len(given) > 1:
    raise InputError(
      f"{given[0]} and {given[1]} both say where the faces are: give one of them; without "
      "--box, --boxes and --whole_image faces are found."
    )


def _parse_box(text: str) -> tuple[float, ...]:
  """The four numbers of one --box, checked to be a box."""
  try:
    numbers = tuple(float(part) for part in text.split(","))
  except ValueError:
    numbers = ()
  if len(numbers) != 4:
    several = "; repeat the flag for several faces" if len(numbers) % 4 == 0 and numbers else ""
    raise InputError(f"--box must be four numbers x0,y0,x1,y1, got {text}{several}.")
  if problem := box_problem(numbers):
    raise InputError(f"--box={text} {problem}.")
  return numbers


def box_problem(box: tuple[float, ...]) -> str:
  """What is wrong with four numbers x0, y0, x1, y1, image px; empty if they are a box."""
  x0, y0, x1, y1 = box
  if not all(math.isfinite(number) and abs(number) < 1e7 for number in box):
    return "must be four finite numbers of pixels"
  if x1 < x0 or y1 < y0:
    return "has x1 < x0 or y1 < y0: is it (x, y, width, height)? Give corners x0,y0,x1,y1"
  if x1 == x0 or y1 == y0:
    return "has no area"
  return ""
