"""What a program imports, in a process of its own."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tiny_dataset


def modules_after(program: str, folder: Path, *, names: Sequence[str]) -> list[str]:
  """Those of `names` that are imported when a program is done.

  Args:
    program: Python, which may print.
    folder: where it runs; also its home.
    names: of modules.

  Returns:
    Some of them.
  """
  program += f"\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=folder,
    env={"PYTHONPATH": str(tiny_dataset.ROOT), "HOME": str(folder)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return ast.literal_eval(done.stdout.splitlines()[-1])
