"""python -m fal_jax.demo [--weights=NAME|WORKDIR|EXPORT] [--detector=NAME|FILE] [--port=8000]

Photos dropped on a page, landmarks drawn on them: a server on this machine, and for this machine
unless --host says otherwise. Exit codes are those of fal_jax.main; Ctrl-C is the usual end.
"""

if __name__ == "__main__":  # the imports below take a second, in which Ctrl-C may come
  from fal_jax.errors import end_quietly

  end_quietly()

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from absl import logging

from fal_jax import flag_parser
from fal_jax.errors import InputError

DEFAULT_PORT = 8000
INSTALL = "pip install 'fal_jax[demo]'"


def main(argv: Sequence[str]) -> int:
  """Serves what the flags name until Ctrl-C, and returns the exit code."""
  options = _parse(argv[1:])
  return flag_parser.exit_code(lambda: _run(options))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
  """The flags; not those of absl, of which `fal_jax.main` has the same names for other things."""
  parser = argparse.ArgumentParser(
    prog="python -m fal_jax.demo",
    description="A page that places landmarks on photos; this machine computes.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "--weights",
    default="free-68",
    metavar="NAME",
    help="a network that has a name (free-68, w300-68), or the folder of an export or a run",
  )
  parser.add_argument(
    "--detector",
    metavar="NAME",
    help="how faces are found: mtcnn, yunet, or the path of YuNet's file; default: the best that "
    "is there, or none: you draw boxes",
  )
  parser.add_argument(
    "--port",
    type=_port,
    help=f"default: {DEFAULT_PORT}, or another one if that is taken; 0: any that is free",
  )
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen at; the default is reached from this machine alone, 0.0.0.0 from the "
    "whole network",
  )
  return parser.parse_args(arguments)


def _port(text: str) -> int:
  """A port's number, for argparse."""
  if not text.isdecimal() or int(text) > 65535:
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
  return int(text)


def _run(options: argparse.Namespace) -> None:
  if missing := [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]:
    raise InputError(f"The demo needs {' and '.join(missing)}: `{INSTALL}` brings it.")

  from fal_jax.output import compiled

  compiled.keep("")  # before JAX starts

  from fal_jax.demo import serve
  from fal_jax.demo.app import App
  from fal_jax.demo.computer import Computer
  from fal_jax.demo.load import load_detector, load_network
  from fal_jax.page import files

  port = DEFAULT_PORT if options.port is None else options.port
  with serve.listen(options.host, port, or_any=options.port is None) as listening:
    network = load_network(options.weights)
    computer = Computer(network.aligner, load_detector(options.detector))
    computer.warm_up()  # while the page is opened
    page = files.page_json(
      "server",
      name=network.name,
      notice=network.notice,
      setup=network.aligner.setup,
      detector=computer.detector.name if computer.detector else None,
    )
    with ThreadPoolExecutor(1, "computer") as worker:
      demo = App(computer, page, worker=worker, host=options.host)
      serve.run(demo.application, listening, host=options.host)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  sys.exit(main(sys.argv))
