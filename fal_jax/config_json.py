"""A run's config as JSON: saved with its checkpoints, read back, compared with another config.

Nothing heavy is imported here, so that files in `configs/` may use it.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

# Keys that configs have gained since the first runs were saved, each with the value that means what
# the code did before. Whoever adds a key to `configs/default.py` adds it here, too.
GAINED_KEYS: Mapping[str, Any] = {
  "init_from": None,
  "data.own_markup": None,
  "data.value_range": (),
  "data.cache": "none",
  "data.mix": (),
  "model.name": "fan",
  "model.dtype": "float32",
  "model.sync_batch_norm": True,
  "model.remat": False,
  "model.expansion": 4,
  "model.epsilon": 1e-5,
  "augment.colour_mode": "photometric",
  "corruption.flat_background": 0.0,
  "corruption.gain": 0.0,
  "corruption.gamma": 0.0,
  "corruption.clipping": 0.0,
  "corruption.grey": 0.0,
  "corruption.blur": 0.0,
  "corruption.blur_sigma": 1.6,
  "corruption.low_resolution": 0.0,
  "corruption.noise": 0.0,
  "corruption.noise_deviation": 0.12,
  "corruption.occluder": 0.0,
  "siamese.frame": "crop",
  "siamese.window_loss": 0.0,
  "optimizer.schedule": "drops",
  "optimizer.warmup": 0.0,
  "train.frozen": 0.0,
  "train.accumulate": 1,
  "eval.name": None,
  "eval.boxes": [],
  "eval.stress": False,
  "log.wandb_project": None,
}

# Of the keys that may be None, those that otherwise hold a number; the others hold text.
_FLOATS_OR_NONE = ("siamese.target_scale",)


def to_json(config: ConfigDict) -> dict[str, Any]:
  """A config as nested dicts of JSON values, in which tuples are lists."""
  return json.loads(config.to_json_best_effort())


def from_json(saved: Mapping[str, Any]) -> ConfigDict:
  """The config that `to_json` made, with the keys it has gained since.

  Args:
    saved: nested mappings of JSON values.

  Returns:
    A config that flags can override: with the tuples and typed placeholders that JSON lacks.
  """
  return ConfigDict(_typed(complete(saved)))


def flat(config: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
  """Dotted key -> value of a nested config, in its order.

  Args:
    config: nested mappings.
    prefix: what all keys begin with.

  Returns:
    One entry per value that is not a mapping.
  """
  values: dict[str, Any] = {}
  for name, value in config.items():
    key = prefix + name
    values |= flat(value, prefix=f"{key}.") if isinstance(value, Mapping) else {key: value}
  return values


def complete(saved: Mapping[str, Any]) -> dict[str, Any]:
  """A saved config with the keys that were added after it was saved, see `GAINED_KEYS`.

  Args:
    saved: nested mappings of JSON values; stays as it is.

  Returns:
    The same, with every key.
  """
  config = copy.deepcopy(dict(saved))
  for key, value in GAINED_KEYS.items():
    section, _, name = key.rpartition(".")
    values = config.setdefault(section, {}) if section else config
    values.setdefault(name, value)
  return config


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
  """The keys whose values differ between a saved config and another.

  A key that the saved config is too old to have counts with its value in `GAINED_KEYS`.

  Args:
    saved: nested mappings of JSON values.
    now: the same.

  Returns:
    Dotted key -> the saved and the present value, None where a side lacks the key.
  """
  return _differences(complete(saved), now, prefix="")


def _differences(
  saved: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str
) -> dict[str, tuple[Any, Any]]:
  """`differences` of one section, whose keys begin with `prefix`."""
  found: dict[str, tuple[Any, Any]] = {}
  for key in sorted({*saved, *now}):
    before, after = saved.get(key), now.get(key)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
      found |= _differences(before, after, prefix=f"{prefix}{key}.")
    elif _through_json(before) != _through_json(after):
      found[prefix + key] = before, after
  return found


def _through_json(value: Any) -> Any:
  """A value as it comes back from a saved config: JSON turns tuples into lists."""
  return json.loads(json.dumps(value))


def _tuples(value: Any) -> Any:
  """A value whose lists, inner ones too, are tuples."""
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _typed(value: Any, key: str = "") -> Any:
  """The value of a dotted key with tuples and typed placeholders."""
  if isinstance(value, dict):
    return {name: _typed(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
  if isinstance(value, list):
    return _tuples(value)
  if value is None:
    return config_dict.placeholder(float if key in _FLOATS_OR_NONE else str)
  return value
