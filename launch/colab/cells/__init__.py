"""The two kinds of cells of these notebooks, `%%bash` and `%%fal_jax`.

A notebook's own Python may be any: Colab's has other releases of JAX and NumPy than this library
needs, and exchanging them under a running kernel fails in odd ways. So nothing is installed into
it. `start` makes the environment of the lock file in `.venv`, as everything in `launch/` does, and
adds:

* `%%bash`: what one would type into a terminal in which that environment is active. What is printed
  is shown as it comes, and the first command that fails stops the notebook.
* `%%fal_jax`: Python of that environment, in one process: names stay from cell to cell.

This file needs the standard library and IPython alone. The process is `worker.py`.
"""

import base64
import codecs
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import Image, Markdown, display

from cells.worker import MARK

ROOT = Path(__file__).resolve().parents[3]

# Versions are read off the metadata of the packages: importing JAX would take seconds.
_GREETING = """\
python - <<'END'
import platform
from importlib.metadata import version
versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "numpy"))
print(f"The library runs in .venv, on Python {platform.python_version()} with {versions}")
END
"""

_started: list[subprocess.Popen] = []  # the worker, if there is one


class CellFailed(Exception):
  """A cell ended badly; what went wrong has been printed."""

  def _render_traceback_(self) -> list[str]:
    """What IPython shows in place of a traceback, which would be of this file."""
    return [f"This cell failed: {self}"]


def start() -> None:
  """Makes the environment if necessary, and adds the two kinds of cells.

  Raises:
    CellFailed: the environment cannot be made; what is printed says why.
  """
  if "google.colab" in sys.modules and shutil.which("uv") is None:
    bash("", f"'{sys.executable}' -m pip install --quiet uv")  # Colab's Python lacks ensurepip
  bash("", "source launch/environment.sh\nmake_environment")
  bash("", _GREETING)

  shell = get_ipython()
  shell.register_magic_function(bash, "cell", "bash")
  shell.register_magic_function(fal_jax, "cell", "fal_jax")
  stop()  # a first cell that is run again starts anew


def stop() -> None:
  """Ends the process of the `%%fal_jax` cells, and with it all that they have computed."""
  while _started:
    process = _started.pop()
    process.kill()
    process.communicate()


def bash(line: str, cell: str) -> None:
  """The magic `%%bash`: runs commands in the repository's folder.

  Args:
    line: what follows the name of the magic; not used.
    cell: the commands.

  Raises:
    CellFailed: a command failed, or the reader interrupted it.
  """
  del line
  with _popen(["bash", "-euo", "pipefail", "-c", cell], stdin=subprocess.DEVNULL) as process:
    _show(process)
  if process.returncode:
    raise CellFailed(f"a command ended with exit code {process.returncode}.")


def fal_jax(line: str, cell: str) -> None:
  """The magic `%%fal_jax`: runs Python in the library's environment.

  Args:
    line: what follows the name of the magic; not used.
    cell: the code; the value of its last line is shown, and what it draws.

  Raises:
    CellFailed: the code raised an exception, or the reader interrupted it.
  """
  del line
  if not _started:
    # On the CPU, so that it does not hold the accelerator that a training of `%%bash` needs.
    command = [".venv/bin/python", "-u", str(ROOT / "launch" / "colab" / "cells" / "worker.py")]
    _started.append(_popen(command, stdin=subprocess.PIPE, JAX_PLATFORMS="cpu"))

  (process,) = _started
  assert process.stdin is not None
  try:
    process.stdin.write(json.dumps(cell).encode() + b"\n")
    process.stdin.flush()
    ok = _show(process)
  except BrokenPipeError:
    ok = None

  if ok is None:
    code = process.wait()
    stop()
    raise CellFailed(
      f"the library's Python has ended with exit code {code}, and with it all that the cells above "
      "have computed. Run the notebook again from its first cell."
    )
  if not ok:
    raise CellFailed("the traceback is above.")


def _popen(command: list[str], *, stdin: int, **variables: str) -> subprocess.Popen:
  """Starts a command in the repository's folder, as in a terminal with the environment active.

  Args:
    command: program and arguments.
    stdin: what it reads from.
    **variables: of its environment, besides.

  Returns:
    The process, in a session of its own, with stdout and stderr in one pipe.
  """
  environment = dict(os.environ)
  for name in ("PYTHONPATH", "PYTHONHOME"):
    environment.pop(name, None)  # of the notebook's own Python, with its own packages
  environment["MPLBACKEND"] = "Agg"  # not the notebook's, which draws into the notebook itself
  environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}"
  environment["PYTHONPATH"] = str(ROOT)
  environment["VIRTUAL_ENV"] = str(ROOT / ".venv")
  # What is compiled is kept, as by launch/demo.sh.
  environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
  environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
  return subprocess.Popen(
    command,
    cwd=ROOT,
    env=environment | variables,
    stdin=stdin,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    start_new_session=True,
  )


def _show(process: subprocess.Popen) -> bool | None:
  """Shows what a process prints as it comes, until it ends or the worker is done with a cell.

  An interrupt of the notebook is passed on, and what the process does about it is shown too.

  Args:
    process: from `_popen`.

  Returns:
    Whether the worker's cell went well; None if the process has closed its output.
  """
  assert process.stdout is not None
  decoder = codecs.getincrementaldecoder("utf-8")("replace")
  text = ""
  while True:
    try:
      chunk = os.read(process.stdout.fileno(), 1 << 16)
    except KeyboardInterrupt:
      os.killpg(process.pid, signal.SIGINT)
      continue

    text += decoder.decode(chunk, final=not chunk)
    while MARK in text:
      printed, _, rest = text.partition(MARK)
      print(printed, end="", flush=True)
      message, newline, after = rest.partition("\n")
      if not newline:  # the rest of the message is still to come
        text = MARK + rest
        break
      text = after
      content = json.loads(message)
      if "ok" in content:
        return bool(content["ok"])
      _display(content)
    else:
      print(text, end="", flush=True)
      text = ""

    if not chunk:
      return None


def _display(content: dict[str, Any]) -> None:
  """Shows a picture of the worker, with its caption below."""
  data = base64.b64decode(content["image"])
  display(Image(data=data, width=content["width"]))
  if content["caption"]:
    display(Markdown(f"*{content['caption']}*"))
