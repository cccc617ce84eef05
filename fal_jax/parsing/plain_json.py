"""JSON of others, within limits: what is wrong with it is always a ValueError."""

import json
import re
from typing import Any

from fal_jax.parsing import limits

_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_SIGN = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def loads(text: str, **hooks: Any) -> Any:
  """`json.loads`, which recurses as deeply as the text is nested, and so does what it returns.

  Args:
    text: JSON.
    **hooks: of `json.loads`.

  Returns:
    Its value.

  Raises:
    ValueError: it is not JSON, has too many values, or is nested too deeply.
  """
  data = text.encode("utf-8", "replace")
  if sum(map(data.count, (b",", b"[", b"{"))) > limits.MAX_JSON_TOKENS:
    raise ValueError(f"it holds more than {limits.MAX_JSON_TOKENS:,} values")
  if _depth(data) > limits.MAX_JSON_DEPTH:
    raise ValueError(f"it is nested more than {limits.MAX_JSON_DEPTH} deep")
  return json.loads(text, **hooks)


def _depth(data: bytes) -> int:
  """How deeply lists and objects are nested, at least where that matters.

  The quick way takes pairs of brackets out, layer by layer. Only brackets in texts, or such as have
  no partner, need the other one.
  """
  brackets = data.translate(None, delete=_NO_BRACKET)
  for depth in range(limits.MAX_JSON_DEPTH + 1):
    if not brackets:
      return depth
    inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if len(inner) == len(brackets):
      break
    brackets = inner

  depth = deepest = 0
  for sign in _TEXT.sub(b"", data).translate(None, delete=_NO_BRACKET):
    depth += _SIGN[bytes([sign])]
    deepest = max(deepest, depth)
  return deepest
