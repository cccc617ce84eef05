"""The networks that come with the package: weights, and a card that says what they are.

Each is two files beside this one. `<name>.safetensors` holds the arrays, float16 or float32, under
the names of the library's own tree; `<name>.json`, the model card, holds config, data, licence,
results, the digest of the former, and a seal over itself. Nothing in either is executed. `pack.py`
writes both.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict
from safetensors.numpy import load as load_safetensors

from fal_jax import config_json
from fal_jax.errors import InputError
from fal_jax.output import seal

FOLDER = Path(__file__).parent
_AGAIN = "install fal_jax again"


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A network as it comes with the package.

  Attributes:
    name: e.g. "free-68".
    config: what it was trained under, and is evaluated under.
    variables: `params` and `batch_stats`, float32.
    card: the whole model card.
  """

  name: str
  config: ConfigDict
  variables: Any
  card: dict[str, Any]

  @property
  def notice(self) -> str:
    """What a user must be told before using it; empty where the licence restricts nothing."""
    return self.card["notice"]


def models() -> dict[str, str]:
  """The networks that come with the package.

  Returns:
    Name -> one line about it.
  """
  return {name: read_card(name)["summary"] for name in _names()}


def read_card(name: str) -> dict[str, Any]:
  """The model card of a network.

  Args:
    name: of the network.

  Returns:
    Its JSON: summary, licence, notice, data, config, sha256, results ...

  Raises:
    InputError: there is no such network, or its card is damaged.
  """
  if name not in _names():
    raise InputError(
      f"No network called {name!r} comes with fal_jax: choose one of {', '.join(_names())}, or "
      "give the --workdir of a run."
    )
  path = FOLDER / f"{name}.json"
  card = json.loads(path.read_text(encoding="utf-8"))
  if seal.is_intact(card) is False:
    raise InputError(f"{path} is damaged or was edited, its seal does not fit it: {_AGAIN}.")
  return card


def load(name: str) -> Pretrained:
  """Reads a network from the package's own files.

  Args:
    name: of the network.

  Returns:
    Its weights in float32, with config and card.

  Raises:
    InputError: there is no such network, or its file is not the one that the card describes.
  """
  card = read_card(name)
  path = FOLDER / f"{name}.safetensors"
  content = path.read_bytes() if path.is_file() else b""
  digest = hashlib.sha256(content).hexdigest()
  if digest != card["sha256"]:
    raise InputError(
      f"{path} is missing or damaged (its SHA-256 is {digest[:12]}..., the model card says "
      f"{card['sha256'][:12]}...): {_AGAIN}."
    )

  arrays = {
    tuple(key.split("/")): array.astype(np.float32)
    for key, array in load_safetensors(content).items()
  }
  return Pretrained(name, config_json.from_json(card["config"]), unflatten_dict(arrays), card)


def _names() -> list[str]:
  return sorted(path.stem for path in FOLDER.glob("*.safetensors"))
