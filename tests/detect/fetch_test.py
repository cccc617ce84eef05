"""Downloading YuNet's file, from a server of the test's own: nothing here reaches the internet."""

import contextlib
import http.server
import threading

import face_detectors
import pytest

from fal_jax import detect
from fal_jax.detect import fetch, load
from fal_jax.errors import InputError


@contextlib.contextmanager
def server(content, *, length=None, status=200):
  """Serves some bytes; `length` is what it claims they are. Yields its address."""
  asked = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.path)
      self.send_response(status)
      self.send_header("Content-Length", str(len(content) if length is None else length))
      self.end_headers()
      with contextlib.suppress(OSError):  # who has enough hangs up
        self.wfile.write(content)

    def log_message(self, *args):
      pass

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
      yield f"http://127.0.0.1:{running.server_port}/{fetch.NAME}", asked
    finally:
      running.shutdown()
      thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """An empty FAL_JAX_HOME, no proxy, and nothing loaded before."""
  monkeypatch.setenv("FAL_JAX_HOME", str(tmp_path / "home"))
  monkeypatch.setenv("no_proxy", "*")
  load._yunet.cache_clear()
  return tmp_path / "home"


def test_the_file_is_fetched_once_and_said_to_be(home, capsys, monkeypatch):
  with server(face_detectors.yunet_file().read_bytes()) as (address, asked):
    monkeypatch.setattr(fetch, "ADDRESS", address)
    first = detect.load_detector("yunet")
    load._yunet.cache_clear()
    detect.load_detector("yunet")

  assert first.name == "yunet" and len(asked) == 1
  assert [file.name for file in (home / "detector").iterdir()] == [fetch.NAME]
  (line,) = capsys.readouterr().out.splitlines()
  assert "YuNet" in line and address in line


def test_a_damaged_file_is_fetched_again(home):
  (home / "detector").mkdir(parents=True)
  fetch.cached().write_bytes(b"damaged")
  with server(face_detectors.yunet_file().read_bytes()) as (address, _):
    fetch.fetch(address=address)
  assert fetch.read(fetch.cached())


@pytest.mark.parametrize(
  ("served", "reason"),
  [
    ({"content": bytes(fetch.SIZE)}, "another file: its SHA-256 differs"),
    ({"content": bytes(fetch.SIZE + 10**6)}, "another file: its SHA-256 differs"),
    ({"content": bytes(1000), "length": fetch.SIZE}, "ended after 1,000 of 232,589 bytes"),
    ({"content": b"version https://git-lfs.github.com"}, "ended after 34 of"),
    ({"content": b"gone", "status": 404}, "Not Found"),
  ],
)
def test_what_is_not_the_file_is_refused_with_the_way_by_hand(served, reason, home):
  with server(**served) as (address, _), pytest.raises(InputError) as error:
    fetch.fetch(address=address)

  message = str(error.value)
  assert reason in message and address in message
  assert fetch.MIRROR in message and "--detector=FILE" in message and str(home) in message
  assert not home.exists()


def test_no_network_is_one_sentence():
  with server(b"") as (address, _):
    pass  # nobody listens there any more
  with pytest.raises(InputError, match=r"could not be fetched .*\(.*refused.*\): download it by"):
    fetch.fetch(address=address)


def test_a_folder_that_cannot_be_written_to_is_one_sentence(home):
  home.write_text("a file")
  content = face_detectors.yunet_file().read_bytes()
  message = r"cannot be kept in .* let FAL_JAX_HOME name a folder"
  with server(content) as (address, _), pytest.raises(InputError, match=message):
    fetch.fetch(address=address)


def test_the_addresses_are_pinned_to_commits():
  for address in (fetch.ADDRESS, fetch.MIRROR):
    assert address.startswith("https://") and address.endswith(fetch.NAME)
    assert any(len(part) == 40 and int(part, 16) for part in address.split("/"))
