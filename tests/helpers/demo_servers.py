"""The demo's server in a thread, and requests to it."""

import contextlib
import functools
import http.server
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fal_jax.demo import serve
from fal_jax.demo.app import App
from fal_jax.demo.computer import Computer
from fal_jax.page import files

BYTES = "application/octet-stream"

# For evaluate() of a page: what its computer says about {content, boxes, landmark}.
ASK_ALL = Path(__file__).with_name("page_computers.js").read_text()


@contextlib.contextmanager
def serving(computer: Computer, *, notice: str = "", **options: Any) -> Iterator[str]:
  """Serves the page with a computer behind it; gives the address, which ends with a slash."""
  page = files.page_json(
    "server",
    name="test",
    notice=notice,
    setup=computer.aligner.setup,
    detector=computer.detector.name if computer.detector else None,
  )
  with (
    serve.listen("127.0.0.1", 0, or_any=False) as listening,
    ThreadPoolExecutor(1) as worker,
  ):
    demo = App(computer, page, worker=worker, host="127.0.0.1", **options)
    server = uvicorn.Server(serve.config(demo.application))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
      yield serve.address("127.0.0.1", listening)
    finally:
      server.should_exit = True
      thread.join()


def ask(url: str, body: Any = None, kind: str = "application/json", **headers: str) -> tuple:
  """Status, headers and body of an answer; `body` is sent as JSON unless it is bytes."""
  data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
  names = {name.replace("_", "-"): value for name, value in headers.items()}
  request = urllib.request.Request(url, data, {"Content-Type": kind, **names})
  try:
    with urllib.request.urlopen(request) as response:
      return response.status, response.headers, response.read()
  except urllib.error.HTTPError as error:
    with error:
      return error.code, error.headers, error.read()


def portrait() -> bytes:
  """The file of Grace Hopper's portrait, 512 x 600 px, from matplotlib's sample data."""
  cbook = pytest.importorskip("matplotlib.cbook")
  with cbook.get_sample_data("grace_hopper.jpg") as file:
    return file.read()


@contextlib.contextmanager
def hosting(folder: Path, **headers: str) -> Iterator[str]:
  """Serves a folder as `python -m http.server` does, with further headers; gives the address."""

  class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
      for name, value in headers.items():
        self.send_header(name.replace("_", "-"), value)
      super().end_headers()

    def log_message(self, *_: object) -> None:
      """Says nothing."""

  handler = functools.partial(Handler, directory=str(folder))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
    thread = threading.Thread(target=host.serve_forever, args=(0.05,))
    thread.start()
    try:
      yield f"http://127.0.0.1:{host.server_address[1]}/"
    finally:
      host.shutdown()
      thread.join()
