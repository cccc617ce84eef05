"""Command lines that run in processes of their own but import what they need once.

A fresh interpreter takes half a second to import a program, and three where the program needs JAX.
A fork of one that has imported it is there at once, and as independent of all others.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

import tiny_dataset

_PROGRAM = """
import importlib, json, os, runpy, sys, tempfile, traceback, warnings

module, imports, commands = json.load(sys.stdin)
for name in imports:
  importlib.import_module(name)


def run(arguments):
  sys.argv = [module, *arguments]
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  except SystemExit as end:
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  except BaseException:
    traceback.print_exc()
    return 1
  return 0


ends = []
for arguments in commands:
  with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
    # JAX warns of forks; what they break are computations, of which there has been none.
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      child = os.fork()
    if child == 0:
      os.dup2(out.fileno(), 1)
      os.dup2(err.fileno(), 2)
      code = run(arguments)
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(code)

    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [os.pread(file.fileno(), 1 << 20, 0).decode() for file in (out, err)]
    ends.append([code, *texts])

print(json.dumps(ends))
"""


def run(
  module: str, commands: Sequence[Sequence[str]], *, imports: Sequence[str]
) -> list[tuple[int, str, str]]:
  """Runs `python -m module` with each command's arguments, from the repository's folder.

  Args:
    module: the program.
    commands: arguments of each of its runs.
    imports: modules that all runs need; not the program itself, which defines its flags.

  Returns:
    Exit code, stdout and stderr of each.
  """
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM],
    input=json.dumps([module, imports, commands]),
    cwd=tiny_dataset.ROOT,
    capture_output=True,
    text=True,
    timeout=600,
    check=True,
  )
  return [tuple(end) for end in json.loads(done.stdout)]
