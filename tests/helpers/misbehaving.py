"""Functions for `isolated` to call, which do what damaged files make libraries do."""

import os
import signal
import time
from typing import Any

import numpy as np

from fal_jax.errors import InputError
from fal_jax.parsing import answers


def echo(*values: Any, **named: Any) -> Any:
  return [*values, named] if named else [*values]


def number_of_process() -> int:
  return os.getpid()


def length(content: bytes, factor: int) -> int:
  return len(content) * factor


def arrays() -> dict[str, Any]:
  cells = np.empty((2, 1), object)
  cells[:, 0] = [np.array(["a.jpg"]), 7.5]
  return {
    "numbers": np.arange(6.0).reshape(2, 3).T,
    "none": np.zeros((0, 3), np.uint8),
    "texts": np.array(["ab", "ü"]),
    "cells": cells,
    "records": np.zeros(2, [("a", float)]),
    "one": np.float32(0.5),
    "list": [(1, None), {"a": True}],
  }


def crash() -> None:
  os.kill(os.getpid(), signal.SIGSEGV)


def take(num_bytes: int) -> int:
  return len(np.empty(num_bytes, np.uint8))  # untouched, so that no machine suffers


def spin() -> None:
  while True:
    pass


def sleep() -> None:
  time.sleep(600)


def refuse(text: str) -> None:
  raise InputError(text)


def fail(text: str) -> None:
  raise OSError(text)


def chatter() -> str:
  """Prints, as libraries in C do."""
  print("hello", flush=True)
  os.write(1, b"more")
  return "done"


def write_file(path: str) -> None:
  with open(path, "wb") as file:
    file.write(b"a")


def hijack(kind: str) -> None:
  """Makes this process answer the next request with what no `pack` writes."""
  text, content = {
    "objects": (b'["list","done",["array","|O8",[1]]]', b"12345678"),
    "too large": (b'["list","done",["array","<f8",[999]]]', b"12345678"),
    "left over": (b'["list","done",1]', b"12345678"),
    "no text": (b'["list","done",["array","<U1",[1]]]', b"\xff\xff\xff\xff"),
    "another kind": (b'["list","run","ls"]', b""),
    "a pickle": (b"\x80\x04cos\nsystem\n.", b""),
    "nested": (b"[" * 100_000, b""),
  }[kind]
  answers.pack = lambda _: (text, [memoryview(content)])
