"""What a PyTorch file says that it holds, looked at without PyTorch, whose import takes seconds.

A pickle is a list of instructions. Python's own tool lists them, and `_value` follows those alone
that make numbers, texts, tuples and dictionaries: what is to be called stays a name with arguments.
Nothing is trusted that passes: `torch_file` reads it in a process of its own, within limits. What
would be refused there is refused here at once.
"""

import dataclasses
import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fal_jax.errors import InputError, cut
from fal_jax.parsing import limits
from fal_jax.torch_import.plain_arrays import damage, refusal

# The two formats of `torch.save`: an archive, and before that pickles, of which the first is a
# number, the second a version, and the third about the machine.
_ZIP = b"PK\x03\x04"
_NUMBER = 0x1950A86A20F9469CFC6C
_BEFORE = 3

# All that PyTorch calls, beside its own.
_CALLED = {"collections.OrderedDict", "collections.Counter", "_codecs.encode"}
_CALLED |= {
  f"{module}.{name}"
  for module in ("builtins", "__builtin__")
  for name in ("bytearray", "set", "complex")
}
_TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
_PARAMETERS = {f"torch._utils._rebuild_parameter{version}" for version in ("", "_with_state")}
_ODD = {
  "torch._utils._rebuild_meta_tensor_no_storage": "has a shape and no numbers",
  "torch._utils._rebuild_nested_tensor": "is of the layout of nested tensors",
  "torch._utils._rebuild_qtensor": "is quantised",
  "torch._utils._rebuild_sparse_tensor": "is of the layout of sparse tensors",
}
_MAX_DIMENSIONS = 64  # PyTorch's own


@dataclasses.dataclass(frozen=True)
class _Name:
  """Something that a file names, to be called or as a type of numbers."""

  text: str


@dataclasses.dataclass(frozen=True)
class _Call:
  """What a file wants made of arguments."""

  function: str
  arguments: tuple[Any, ...]


class _Unusual(Exception):
  """An instruction that no file of weights has need of."""


def check(path: str | Path) -> None:
  """Refuses a file that PyTorch need not be asked about.

  Args:
    path: what `torch.save` may have written.

  Raises:
    InputError: it is missing, TorchScript, of neither format, calls something else than PyTorch's
      own, or holds a tensor that is not plain numbers, or fewer of them than it says.
  """
  file = Path(path).expanduser()
  if not file.is_file():
    raise InputError(
      f"{path} is not a file: name the weights that you have downloaded, "
      "e.g. --weights=2DFAN4.pth.tar."
    )
  members = _members(file)
  # torch.load, too, recognises them by this file. A folder code/ would prove nothing: torch.save
  # names its folder after the file.
  if any(name.endswith("/constants.pkl") for name in members):
    extract = f"torch.save(torch.jit.load('{path}', 'cpu').state_dict(), 'weights.pth')"
    raise InputError(
      f"{path} is a TorchScript archive and was not loaded, since it is a program with weights: "
      f'if you trust it, extract these by python -c "import torch; {extract}" and import them.'
    )

  outline = _outline(file, members)
  for name in outline.names:
    is_name = name.replace(".", "_").isidentifier()
    if is_name and not name.startswith("torch.") and name not in _CALLED:
      raise InputError(refusal(str(path), f"it tries to call {cut(name)}"))
  if not outline.is_theirs:
    raise InputError(refusal(str(path), damage("it begins like neither of its formats")))

  total = 0
  for key, call in _tensors(outline.saved).items():
    if odd := _oddity(call):
      raise InputError(
        f"{path}: a state dict holds plain arrays, but {cut(key)!r} {odd}: save dense tensors of "
        "real numbers."
      )
    total += math.prod(_shape(call) or ())
  # A number takes a byte at least.
  limits.check_ratio(total, file.stat().st_size, what=f"{path}: its arrays")


@dataclasses.dataclass
class _Outline:
  """What a file says of itself, as far as that can be followed.

  Attributes:
    names: of all that it wants to call, and of types.
    is_theirs: whether it begins as `torch.save` begins a file.
    saved: what was saved, see `_value`; None where that cannot be followed.
  """

  names: list[str] = dataclasses.field(default_factory=list)
  is_theirs: bool = False
  saved: Any = None


def _outline(file: Path, members: Mapping[str, zipfile.ZipInfo]) -> _Outline:
  """Follows the instructions of a file of either format."""
  with file.open("rb") as content:
    start = content.read(limits.MAX_TORCH_OUTLINE)
  outline = _Outline(is_theirs=start.startswith(_ZIP))
  try:
    if outline.is_theirs:
      stream = io.BytesIO(_pickle_of(file, members))
    else:
      stream = io.BytesIO(start)
      outline.is_theirs = _value(stream, outline.names) == _NUMBER
      for _ in range(_BEFORE - 1):
        _value(stream, outline.names)
    outline.saved = _value(stream, outline.names)
  # Damaged, or unusual: PyTorch's process says so, if it cannot read it either.
  except Exception:  # noqa: BLE001
    pass
  return outline


def _members(file: Path) -> dict[str, zipfile.ZipInfo]:
  """What an archive holds, by name; nothing of what is damaged or no archive."""
  try:
    with zipfile.ZipFile(file) as archive:
      return {info.filename: info for info in archive.infolist()}
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
    return {}


def _pickle_of(file: Path, members: Mapping[str, zipfile.ZipInfo]) -> bytes:
  """The instructions in an archive; raises what zipfile does, or _Unusual."""
  (member,) = (info for name, info in members.items() if name.endswith("/data.pkl"))
  if member.file_size > limits.MAX_TORCH_OUTLINE or member.compress_type != zipfile.ZIP_STORED:
    raise _Unusual
  with zipfile.ZipFile(file) as archive:
    return archive.read(member)


def _value(stream: BinaryIO, names: list[str]) -> Any:
  """What a pickle is of, with calls as `_Call`, and storages as their description, a tuple.

  Args:
    stream: is read up to the end of the pickle.
    names: gets all that it names, as far as it can be followed.

  Returns:
    Numbers, texts, tuples, lists, dictionaries and calls.

  Raises:
    Exception: it is damaged, or holds what no file of weights does.
  """
  stack: list[Any] = []
  marks: list[list[Any]] = []
  memo: dict[int, Any] = {}
  argument: Any
  for code, argument, _ in pickletools.genops(stream):
    match code.name:
      case "PROTO" | "BINPERSID":
        pass
      case "STOP":
        return stack.pop()
      case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
        stack.append(argument)
      case "BINUNICODE" | "SHORT_BINSTRING":
        stack.append(argument)
      case "NONE" | "NEWTRUE" | "NEWFALSE":
        stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
      case "GLOBAL":
        names.append(argument.replace(" ", "."))
        stack.append(_Name(names[-1]))
      case "BINPUT" | "LONG_BINPUT":
        memo[argument] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[argument])
      case "MARK":
        marks.append(stack)
        stack = []
      case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
        count = int(code.name[-1]) if code.name[-1].isdigit() else 0
        items = [stack.pop() for _ in range(count)]
        stack.append(tuple(items[::-1]))
      case "TUPLE":
        items, stack = stack, marks.pop()
        stack.append(tuple(items))
      case "EMPTY_LIST" | "EMPTY_SET":
        stack.append([])
      case "EMPTY_DICT":
        stack.append({})
      case "APPEND" | "SETITEM":
        count = 1 if code.name == "APPEND" else 2
        items = [stack.pop() for _ in range(count)][::-1]
        _put(stack[-1], items)
      case "APPENDS" | "SETITEMS":
        items, stack = stack, marks.pop()
        _put(stack[-1], items)
      case "REDUCE" | "NEWOBJ":
        arguments, function = stack.pop(), stack.pop()
        is_dict = function == _Name("collections.OrderedDict")
        stack.append({} if is_dict else _Call(function.text, arguments))
      case "BUILD":
        stack.pop()
      case _:
        raise _Unusual
  raise _Unusual


def _put(container: Any, items: list[Any]) -> None:
  """Puts items into a list, or keys and values into a dictionary."""
  if isinstance(container, list):
    container.extend(items)
    return
  for key, value in zip(items[::2], items[1::2], strict=True):
    if not isinstance(key, str | int):  # hashing what is nested deeply is a crash
      raise _Unusual
    container[key] = value


def _tensors(saved: Any) -> dict[str, _Call]:
  """The tensors of a state dict by name, as far as it is one."""
  if isinstance(saved, Mapping) and isinstance(saved.get("state_dict"), Mapping):
    saved = saved["state_dict"]
  tensors = {}
  for key, value in saved.items() if isinstance(saved, Mapping) else ():
    if isinstance(value, _Call) and value.function in _PARAMETERS and value.arguments:
      value = value.arguments[0]
    if isinstance(value, _Call):
      tensors[str(key)] = value
  return tensors


def _oddity(call: _Call) -> str:
  """What a tensor is besides numbers in the file, for a sentence; "" for nothing."""
  if call.function in _ODD:
    return _ODD[call.function]
  shape, storage = _shape(call), call.arguments[0] if call.arguments else None
  match storage:
    case ("storage", _Name(kind), _, _, int(count), *_) if shape is not None:
      if "Complex" in kind:
        return f"holds torch.{'complex64' if 'Float' in kind else 'complex128'}"
      if math.prod(shape) > count:
        return f"of shape {cut(str(shape))} repeats the few numbers that there are"
  return ""


def _shape(call: _Call) -> tuple[int, ...] | None:
  """The shape of a tensor; None of what else may be called."""
  match call:
    case _Call(function, (_, _, tuple(shape), *_)) if function in _TENSORS:
      if len(shape) <= _MAX_DIMENSIONS and all(type(size) is int for size in shape):
        return shape
  return None
