"""Files of PyTorch written by hand, for where it is not installed."""

import io
import math
import struct
import zipfile

_NUMBER = bytes.fromhex("6cfc9c46f9206aa85019")


def of_tensor(
  *,
  shape: tuple[int, ...] = (4, 2),
  count: int = 8,
  function: str = "torch._utils _rebuild_tensor_v2",
  storage: str = "torch FloatStorage",
  key: str = "conv1.weight",
) -> bytes:
  """What PyTorch pickles of a dictionary with one tensor.

  Args:
    shape: of the tensor.
    count: of the numbers in its storage.
    function: module and name of what is called.
    storage: module and name of the type of its storage.
    key: its name.

  Returns:
    The instructions.
  """
  strides = [math.prod(shape[axis + 1 : axis + 9]) % 2**31 for axis in range(len(shape))]
  sizes, steps = (b"(" + b"".join(map(_number, numbers)) + b"t" for numbers in (shape, strides))
  described = b"(" + _text("storage") + _name(storage) + _text("0") + _text("cpu") + _number(count)
  hooks = _name("collections OrderedDict") + b")R"
  arguments = b"(" + described + b"tQ" + _number(0) + sizes + steps + b"\x89" + hooks + b"t"
  return b"\x80\x02}" + _text(key) + _name(function) + arguments + b"Rs."


def zipped(pickled: bytes) -> bytes:
  """A file of the new format."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("a/data.pkl", pickled)
    archive.writestr("a/data/0", bytes(32))
    archive.writestr("a/version", b"3\n")
  return file.getvalue()


def old(pickled: bytes) -> bytes:
  """A file of the old format."""
  before = b"\x80\x02\x8a\n" + _NUMBER + b".\x80\x02M\xe9\x03.\x80\x02}."
  keys = b"\x80\x02]" + _text("0") + b"a."
  pickled = pickled.replace(b"tQ", b"NtQ")  # of a storage that is no view of another
  return before + pickled + keys + struct.pack("<q", 8) + bytes(32)


def _text(text: str) -> bytes:
  return b"X" + struct.pack("<I", len(text)) + text.encode()


def _number(number: int) -> bytes:
  return b"J" + struct.pack("<i", number)


def _name(name: str) -> bytes:
  return b"c" + name.replace(" ", "\n").encode() + b"\n"
