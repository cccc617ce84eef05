"""The process behind the `%%fal_jax` cells: the library's Python, which keeps its names.

It reads cells from stdin, each a line of JSON, and runs them one after the other. What they print
goes to stdout as it is; pictures and the end of a cell go there too, each as MARK and a line of
JSON.
"""

import ast
import base64
import builtins
import io
import json
import linecache
import os
import sys
import traceback
from typing import Any

MARK = "\x1e"  # ASCII's record separator, which no text holds


def show(what: Any, caption: str = "", *, width: int | None = None) -> None:
  """Shows a picture in the notebook.

  Args:
    what: the path of a file, an array (H, W, 3) uint8 RGB, or a matplotlib figure.
    caption: a sentence below it.
    width: px on the screen; default: that of the picture.
  """
  if hasattr(what, "savefig"):
    image = _png(lambda file: what.savefig(file, format="png", dpi=100, bbox_inches="tight"))
    if "matplotlib.pyplot" in sys.modules:
      sys.modules["matplotlib.pyplot"].close(what)
  elif hasattr(what, "shape"):
    from PIL import Image

    image = _png(lambda file: Image.fromarray(what).save(file, "PNG"))
  else:
    with open(what, "rb") as file:
      image = file.read()
  text = base64.b64encode(image).decode()
  _send({"image": text, "caption": caption, "width": width})


def _png(save: Any) -> bytes:
  """What `save` writes into a file object."""
  file = io.BytesIO()
  save(file)
  return file.getvalue()


def _send(message: dict[str, Any]) -> None:
  sys.stderr.flush()
  sys.stdout.write(f"{MARK}{json.dumps(message)}\n")
  sys.stdout.flush()


def run(code: str, names: dict[str, Any], *, name: str) -> bool:
  """Runs a cell.

  Args:
    code: its text.
    names: what it and the cells before have defined, to which it adds.
    name: what tracebacks call it, "<cell 1>".

  Returns:
    Whether it went well; if not, the traceback has been printed.
  """
  linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
  try:
    body = ast.parse(code, name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), name, "exec"), names)
    if last is not None:
      value = eval(compile(ast.Expression(last.value), name, "eval"), names)  # noqa: S307
      if value is not None and not code.rstrip().endswith(";"):
        print(repr(value))
    _show_open_figures()
  except BaseException as error:  # noqa: BLE001  # sys.exit and Ctrl-C end the cell alone, too
    # Without the frame of this function.
    inside = error.__traceback__ and error.__traceback__.tb_next
    traceback.print_exception(error.with_traceback(inside), file=sys.stdout)
    return False
  return True


def _show_open_figures() -> None:
  """Shows the figures of matplotlib.pyplot that the cell has not shown itself."""
  pyplot = sys.modules.get("matplotlib.pyplot")
  if pyplot is not None:
    for number in pyplot.get_fignums():
      show(pyplot.figure(number))


def main() -> None:
  """Runs cells until stdin ends."""
  # What a cell starts must not read the next cells.
  cells = os.fdopen(os.dup(0), encoding="utf-8")
  nothing = os.open(os.devnull, os.O_RDONLY)
  os.dup2(nothing, 0)

  names = {"__name__": "__main__", "__builtins__": builtins, "show": show}
  number = 0
  while True:
    try:
      line = cells.readline()
    except KeyboardInterrupt:  # between two cells there is nothing to interrupt
      continue
    if not line:
      return
    number += 1
    _send({"ok": run(json.loads(line), names, name=f"<cell {number}>")})


if __name__ == "__main__":
  main()
