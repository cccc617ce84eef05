"""Folders in which each photograph has its landmarks beside it, in a `.pts` file of the same name."""

from collections.abc import Collection
from pathlib import Path

from fal_jax.errors import InputError
from tfds_builders.common.pts import read_pts
from tfds_builders.common.validate import Face, Finding

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


def read_pairs(
  folder: Path,
  name: str,
  *,
  num_landmarks: int | Collection[int],
  findings: list[Finding],
  **extra: str,
) -> tuple[list[Face | None], int]:
  """Reads one folder of pairs, whose `.pts` files count from 1 as iBUG's do.

  Args:
    folder: where they lie; its own folders are not looked into.
    name: what the dataset calls the folder.
    num_landmarks: how many a face has; several numbers where mark-ups are mixed.
    findings: what is wrong with its files is added here.
    **extra: features that all faces of the folder share.

  Returns:
    A face for each pair of image and `.pts`, sorted by name, None where the pair is bad, so that a
    hold-out of the others does not depend on it; and the number of pairs.
  """
  pairs: dict[str, dict[str, list[Path]]] = {}
  for file in sorted(folder.iterdir()):
    ending = file.suffix.lower()
    if not file.name.startswith(".") and ending in (*_IMAGE_ENDINGS, ".pts"):
      pairs.setdefault(file.stem, {}).setdefault("pts" if ending == ".pts" else "image", []).append(
        file
      )

  faces: list[Face | None] = []
  count = 0
  for _, pair in sorted(pairs.items()):
    images, annotations = pair.get("image", []), pair.get("pts", [])
    file_name = f"{name}/{(images or annotations)[0].name}"
    face = None
    if len(images) == 1 and len(annotations) == 1:
      try:
        face = Face(
          images[0],
          file_name,
          read_pts(annotations[0], num_landmarks=num_landmarks, origin=1),
          extra,
        )
      except InputError as error:
        message = str(error).removeprefix(str(annotations[0])).lstrip(",: ").rstrip(".")
        findings.append(Finding(f"{name}/{annotations[0].name}", message))
    elif not annotations:
      findings.append(Finding(file_name, "no .pts file beside this image"))
    elif not images:
      findings.append(Finding(file_name, "no image beside this .pts file"))
    else:
      names = ", ".join(file.name for file in images + annotations)
      findings.append(
        Finding(file_name, f"expected one image and one .pts file of this name, found {names}")
      )
    count += bool(images and annotations)
    faces.append(face)
  return faces, count
