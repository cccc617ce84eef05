"""A seal on JSON: a digest of all that is in it, by which a changed or damaged value is seen."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "seal"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
  """JSON with its seal.

  Args:
    content: values that JSON can express; an earlier seal among them is replaced.

  Returns:
    The same with `seal`: SHA-256, hexadecimal, over all else.
  """
  return {**content, KEY: _digest(content)}


def is_intact(content: Mapping[str, Any]) -> bool | None:
  """Whether JSON is what was sealed.

  Args:
    content: as it was read back.

  Returns:
    True or False; None if it has no seal, as what earlier releases wrote.
  """
  return content[KEY] == _digest(content) if KEY in content else None


def _digest(content: Mapping[str, Any]) -> str:
  """SHA-256 over the values, in whatever order and layout they are written."""
  values = {key: value for key, value in content.items() if key != KEY}
  return hashlib.sha256(json.dumps(_keyed(values), sort_keys=True).encode()).hexdigest()


def _keyed(value: Any) -> Any:
  """JSON with keys as they are read back, texts, by which they are sorted.

  Through JSON and back would be three times as much work where a log of megabytes is among it.
  """
  if isinstance(value, Mapping):
    return {
      key if isinstance(key, str) else json.dumps(key): _keyed(each) for key, each in value.items()
    }
  return [_keyed(each) for each in value] if isinstance(value, list | tuple) else value
