"""A network as --mode=export wrote it, read back without orbax, a dataset or a file of configs.

An export is a folder: export.json describes it and holds the SHA-256 of every other file in it,
among them model.safetensors, whose arrays have the names of the library's own tree, and a seal over
itself. Nothing in either is executed. What each field means is in `fal_jax/export/README.md`.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from fal_jax import config_json
from fal_jax.errors import InputError, cut
from fal_jax.output import seal
from fal_jax.output.folders import locate
from fal_jax.parsing import plain_json
from fal_jax.weights.pretrained import Pretrained

FORMAT = 1
DESCRIPTION = "export.json"
WEIGHTS = "model.safetensors"

# What a description must hold for a network to be made of it.
_NEEDED = {
  "name": str,
  "summary": str,
  "licence": str,
  "notice": str,
  "config": dict,
  "files": dict,
}
_AGAIN = "copy the whole folder again, or export it anew (--mode=export)"


def is_export(directory: str | Path) -> bool:
  """Whether a folder says that it is an export; it may be damaged nevertheless."""
  try:
    return (locate(directory, flag="--weights") / DESCRIPTION).is_file()
  except (OSError, RuntimeError):  # a name too long, forbidden, or of a user who does not exist
    return False


def read(directory: str | Path) -> dict[str, Any]:
  """The description of an export.

  Args:
    directory: the folder; `~` is expanded.

  Returns:
    The content of export.json.

  Raises:
    InputError: it is not there, cannot be read, or is of a format that this release does not know.
  """
  try:
    directory = locate(directory, flag="--weights")
    is_folder, exists = directory.is_dir(), directory.exists()
  except (OSError, RuntimeError) as error:  # too long, forbidden, or of a user who does not exist
    reason = getattr(error, "strerror", None) or error
    raise InputError(
      f"{cut(str(directory))} cannot be read ({reason}): name the folder that --mode=export wrote."
    ) from error
  path = directory / DESCRIPTION
  if not is_folder:
    what = "is a file" if exists else "does not exist"
    raise InputError(f"{directory} {what}: name the folder that --mode=export wrote.")
  if not path.is_file():
    raise InputError(
      f"{directory} is not an export, there is no {DESCRIPTION} in it: name the folder that "
      "--mode=export wrote."
    )

  try:
    description = plain_json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise InputError(f"{path} cannot be read ({error.strerror or error}): {_AGAIN}.") from error
  except ValueError as error:
    raise InputError(f"{path} is damaged, it is not JSON: {_AGAIN}.") from error

  version = description.get("format") if isinstance(description, dict) else None
  if not isinstance(version, int):
    raise InputError(
      f"{path} is of something else, it has no `format`: name the folder that --mode=export wrote."
    )
  if version != FORMAT:
    raise InputError(
      f"{path} has format {version} and this fal_jax reads format {FORMAT}: use the release of "
      "fal_jax that wrote it, or a newer one."
    )
  if seal.is_intact(description) is False:
    raise InputError(f"{path} is damaged or was edited, its seal does not fit it: {_AGAIN}.")
  for key, kind in _NEEDED.items():
    if not isinstance(description.get(key), kind):
      raise InputError(f"{path} is damaged, it has no {key}: {_AGAIN}.")
  return description


def read_file(directory: str | Path, name: str) -> bytes:
  """The content of one file of an export, if it is the one that was written.

  Args:
    directory: the folder.
    name: of the file, such as "model.onnx".

  Returns:
    All of it.

  Raises:
    InputError: `read` fails, or the file is missing or another one.
  """
  entry = read(directory)["files"].get(name)
  path = locate(directory, flag="--weights") / name
  if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
    raise InputError(
      f"{path.parent} was exported without {name}: export it anew, with that among --formats."
    )
  try:
    content = path.read_bytes()
  except OSError as error:
    raise InputError(f"{path} cannot be read ({error.strerror or error}): {_AGAIN}.") from error

  digest = hashlib.sha256(content).hexdigest()
  if digest != entry["sha256"]:
    raise InputError(
      f"{path} is damaged or another file (its SHA-256 is {digest[:12]}..., {DESCRIPTION} says "
      f"{entry['sha256'][:12]}...): {_AGAIN}."
    )
  return content


def load(directory: str | Path) -> Pretrained:
  """Reads the network of an export.

  Args:
    directory: the folder; `~` is expanded.

  Returns:
    Its weights in float32, with config, and the description as the card.

  Raises:
    InputError: the folder is not an export, or damaged.
  """
  description = read(directory)
  content = read_file(directory, WEIGHTS)
  path = locate(directory, flag="--weights")
  try:
    arrays = {
      tuple(key.split("/")): array.astype(np.float32)
      for key, array in load_safetensors(content).items()
    }
    config = config_json.from_json(description["config"])
  except (SafetensorError, TypeError, ValueError, AttributeError) as error:
    raise InputError(f"{path} does not hold a network of fal_jax ({error}): {_AGAIN}.") from error

  if seal.KEY not in description:
    print(
      f"Note: {path} was exported by an earlier release, which sealed the weights alone: whether "
      "its config is unchanged cannot be told.",
      flush=True,
    )
  card = {**description, "sha256": description["files"][WEIGHTS]["sha256"]}
  return Pretrained(description["name"], config, unflatten_dict(arrays), card)
