"""Chromium for tests of the page, and a server for what it is shown."""

import contextlib
import http.server
import mimetypes
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The strictest policy under which the page has to work; that of files which compute in the browser
# also allows WebAssembly.
POLICY = "default-src 'self'"

TIMEOUT_MS = 90_000  # of machines that do much else


@contextlib.contextmanager
def chromium() -> Iterator[str]:
  """A headless Chromium for all tests; skips them, with the reason, where there is none.

  Yields:
    The address at which it takes orders, see `connected`.
  """
  pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")
  executable = next(filter(None, map(shutil.which, NAMES)), None)
  if executable is None:
    pytest.skip(f"none of {', '.join(NAMES)} is installed: no browser to test the page in")

  with tempfile.TemporaryDirectory(prefix="chromium") as profile:
    command = [
      executable, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
      "--force-color-profile=srgb", "--use-fake-device-for-media-stream",
      "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    log = Path(profile, "stderr.txt")
    with (
      log.open("wb") as stderr,
      subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
      try:
        yield _address(process, Path(profile, "DevToolsActivePort"), log)
      finally:
        process.terminate()
        try:
          process.wait(20)
        except subprocess.TimeoutExpired:
          process.kill()
    # Its children may still write for a moment.
    shutil.rmtree(profile, ignore_errors=True)
    Path(profile).mkdir(exist_ok=True)


def _address(process: subprocess.Popen, port_file: Path, log: Path) -> str:
  """Waits for Chromium to say where it listens."""
  for _ in range(600):
    lines = port_file.read_text().split() if port_file.is_file() else []
    if len(lines) == 2:
      return f"http://127.0.0.1:{lines[0]}"
    if process.poll() is not None:
      break
    time.sleep(0.1)
  raise AssertionError(f"Chromium did not start: {log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
  """Playwright's browser in that Chromium.

  Its loop runs in this thread as long as it is connected, and no other one can: so tests connect
  module by module.
  """
  from playwright.sync_api import sync_playwright

  with sync_playwright() as playwright:
    browser = playwright.chromium.connect_over_cdp(address)
    yield browser
    browser.close()


class Visitors:
  """Opens pages, and remembers what went wrong in them.

  Attributes:
    contexts: those of the open pages, in the order of their opening.
    problems: errors of the consoles, exceptions, and requests to other hosts.
  """

  def __init__(self, browser: Any):
    self._browser = browser
    self.contexts: list[Any] = []
    self.problems: list[str] = []

  def __call__(self, url: str, **options: Any) -> Any:
    """Playwright's page at an address, in a context of its own with the given options."""
    defaults = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True}
    context = self._browser.new_context(**{**defaults, **options})
    self.contexts.append(context)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    host = urlsplit(url).netloc

    def request(sent: Any) -> None:
      address = urlsplit(sent.url)
      if address.scheme in ("http", "https", "ws", "wss") and address.netloc != host:
        self.problems.append(f"request to {sent.url}")

    def console(message: Any) -> None:
      if message.type == "error":
        self.problems.append(f"console: {message.text}")

    page.on("request", request)
    page.on("console", console)
    page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
    page.goto(url)
    return page

  def check(self) -> None:
    """Fails if there was a problem."""
    problems, self.problems = self.problems, []
    assert not problems, "\n".join(problems)

  def close(self, first: int = 0) -> None:
    """Closes the pages from the one with a given number on."""
    while len(self.contexts) > first:
      self.contexts.pop().close()


Content = bytes | Path | Callable[[], bytes]


@contextlib.contextmanager
def serving(
  folder: Path, more: Mapping[str, Content] | None = None, *, policy: str = POLICY
) -> Iterator[str]:
  """Serves a folder's files, and further ones by name, under a Content-Security-Policy.

  Yields:
    The address, which ends with a slash.
  """
  extra = dict(more or {})

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
      name = urlsplit(self.path).path.removeprefix("/") or "index.html"
      found = extra.get(name, folder / name)
      if isinstance(found, Path):
        content = found.read_bytes() if found.is_file() and ".." not in name else None
      else:
        content = found if isinstance(found, bytes) else found()

      self.send_response(200 if content is not None else 404)
      kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
      self.send_header("Content-Type", "text/javascript" if name.endswith("js") else kind)
      self.send_header("Content-Length", str(len(content or b"")))
      self.send_header("Content-Security-Policy", policy)
      self.send_header("Cache-Control", "no-store")
      self.end_headers()
      self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
      """Says nothing."""

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
      yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
      server.shutdown()
      thread.join()
