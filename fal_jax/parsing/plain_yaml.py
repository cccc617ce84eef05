"""Small YAML files as plain keys and values: without what they have no use for."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits


def read_yaml(path: Path) -> dict[Any, Any]:
  """Reads the keys and values of a small YAML file.

  Args:
    path: the file.

  Returns:
    Its content.

  Raises:
    InputError: it cannot be read, or holds anything but keys and values.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise InputError(
      f"{path} cannot be read: {error.strerror or error}; name the YAML file of your mark-up."
    ) from error
  if len(data) > limits.MAX_YAML_BYTES:
    raise InputError(f"{path} has {len(data):,} bytes, too many to describe a mark-up.")

  try:
    content = yaml.load(data.decode("utf-8-sig"), _PlainYaml)
  except UnicodeDecodeError as error:
    raise InputError(f"{path} is not a text file (byte {error.start} is not UTF-8).") from error
  except (yaml.YAMLError, RecursionError, ValueError) as error:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    reason = getattr(error, "problem", None) or str(error)
    raise InputError(f"{path}{line}: not plain YAML, {cut(reason, length=200)}.") from error

  if not isinstance(content, dict):
    got = "is empty" if content is None else f"holds {content!r:.60}"
    raise InputError(f"{path} {got}, expected keys and values such as `landmarks: 5`.")
  return content


class _PlainYaml(yaml.SafeLoader):
  """YAML without what a file of a dozen lines has no use for.

  Aliases can grow without bounds, tags run constructors that trust their text, and of equal keys
  the last one would silently win.
  """

  _depth = 0

  def compose_node(self, parent: Any, index: Any) -> Any:
    event = self.peek_event()
    if isinstance(event, yaml.AliasEvent):
      reason = "aliases are not read, write the value again"
      raise yaml.MarkedYAMLError(None, None, reason, event.start_mark)
    if (tag := getattr(event, "tag", None)) is not None:
      reason = f"the tag {tag[-40:]!r} is not read, write the value alone"
      raise yaml.MarkedYAMLError(None, None, reason, event.start_mark)
    self._depth += 1
    if self._depth > limits.MAX_YAML_DEPTH:
      reason = f"nested more than {limits.MAX_YAML_DEPTH} deep"
      raise yaml.MarkedYAMLError(None, None, reason, event.start_mark)
    node = super().compose_node(parent, index)
    self._depth -= 1
    return node

  def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    keys = [key for key, _ in pairs if isinstance(key, yaml.ScalarNode)]

    seen = set()
    for key in keys:
      if key.value in seen:
        reason = f"the key {cut(key.value)!r} is there twice"
        raise yaml.MarkedYAMLError(None, None, reason, key.start_mark)
      seen.add(key.value)

    return super().construct_mapping(node, deep)
