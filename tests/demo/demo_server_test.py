"""The demo's server: what it answers, to whom, and what it keeps."""

import io
import json
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from demo_servers import BYTES, ask, serving
from PIL import Image

from fal_jax import build
from fal_jax.demo.computer import SHOWN_SIDE, Computer, shown
from fal_jax.demo.store import PhotoStore
from fal_jax.page import files
from fal_jax.weights import pretrained

pytest.importorskip("starlette", reason="needs the extra `demo`")

MAX_BYTES = 1_000_000
BOX = [1.0, 2.0, 30.0, 40.0]


class Aligner:
  """Puts all landmarks of a box on its first corner."""

  setup = build.setup(pretrained.load("free-68").config)

  def __call__(self, image, boxes):
    points = np.repeat(boxes[:, None, :2], 68, 1)
    return types.SimpleNamespace(landmarks=points, scores=np.ones((len(boxes), 68)))


class Detector:
  name = "test"

  def find(self, image):
    return types.SimpleNamespace(boxes=np.array([BOX]), scores=np.array([0.5]))


@pytest.fixture(scope="module")
def store():
  return PhotoStore(max_photos=3)


@pytest.fixture(scope="module")
def server(store):
  computer = Computer(Aligner(), Detector())
  with serving(computer, max_file_bytes=MAX_BYTES, store=store) as address:
    yield address


def photo(width=60, height=50, *, kind="PNG", **options):
  file = io.BytesIO()
  Image.new("RGB", (width, height), (200, 100, 50)).save(file, kind, **options)
  return file.getvalue()


def add(server, content):
  status, _, body = ask(f"{server}api/photos", content, BYTES)
  return status, json.loads(body)


@pytest.fixture
def uploaded(server):
  """Address of a photo of 60 x 50 px."""
  status, answer = add(server, photo())
  assert status == 200
  return f"{server}api/photos/{answer['id']}"


def test_the_page_and_what_it_says_about_the_network(server):
  status, headers, body = ask(server)
  assert status == 200 and b"<html" in body
  assert headers["Content-Type"].startswith("text/html")
  for name in files.names("server"):
    status, headers, body = ask(server + name)
    assert status == 200 and body == (files.FOLDER / name).read_bytes()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]

  page = json.loads(ask(f"{server}page.json")[2])
  assert page["computer"] == "server" and page["detector"] == "test"
  assert page["model"]["num_landmarks"] == len(page["model"]["names"]) == 68


@pytest.mark.parametrize(
  "name",
  [
    "..%2f..%2f..%2fetc%2fpasswd",
    "files.py",
    "browser.js",
    "package.json",
    "%2e%2e/errors.py",
    "a/b.js",
    "nothing.js",
  ],
)
def test_nothing_but_the_page_s_own_files_is_served(server, name):
  assert ask(server + name)[0] == 404


def test_a_photo_is_upright_and_gives_faces_and_landmarks(server):
  exif = Image.Exif()
  exif[0x0112] = 6
  status, answer = add(server, photo(60, 50, kind="JPEG", exif=exif))
  assert status == 200 and (answer["width"], answer["height"]) == (50, 60)

  url = f"{server}api/photos/{answer['id']}"
  assert json.loads(ask(f"{url}/detect", {})[2]) == {"faces": [{"box": BOX, "score": 0.5}]}
  (face,) = json.loads(ask(f"{url}/align", {"boxes": [BOX]})[2])["faces"]
  assert face["landmarks"] == [BOX[:2]] * 68 and face["scores"] == [1.0] * 68
  status, headers, body = ask(f"{url}/shown")
  assert headers["Content-Type"] == "image/jpeg"
  assert Image.open(io.BytesIO(body)).size == (50, 60)


@pytest.mark.parametrize(
  ("content", "sentence"),
  [
    (b"", "empty"),
    (b"<html>no</html>", "HTML"),
    (b"hello", "not an image"),
    (photo(kind="JPEG")[:-200], "truncated"),
    (photo()[:60], "truncated"),
  ],
)
def test_what_is_no_image_gets_one_sentence(server, content, sentence):
  status, answer = add(server, content)
  assert status == 422
  assert sentence in answer["error"] and answer["error"].startswith("Your photo")
  assert "\n" not in answer["error"]


def test_a_photo_that_takes_long_to_read_holds_nobody_up(server, uploaded, monkeypatch):
  started, go_on = threading.Event(), threading.Event()
  read = Computer.read

  def read_slowly(computer, content):
    started.set()
    assert go_on.wait(60)
    return read(computer, content)

  with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
    patch.setattr(Computer, "read", read_slowly)
    slow = pool.submit(add, server, photo())
    try:
      assert started.wait(60)
      assert ask(f"{uploaded}/detect", {})[0] == 200
      assert not slow.done()
    finally:
      go_on.set()
    assert slow.result()[0] == 200


def test_too_many_bytes_are_refused_and_not_kept(server):
  status, answer = add(server, bytes(3 * MAX_BYTES))
  assert status == 413
  assert "3 MB" in answer["error"] and "1 allowed" in answer["error"]


def test_too_many_pixels_are_refused_by_the_header_alone(server):
  file = io.BytesIO()
  Image.new("1", (9000, 8000)).save(file, "PNG")
  status, answer = add(server, file.getvalue())
  assert status == 422 and "9000 x 8000 pixels" in answer["error"]


@pytest.mark.parametrize(
  "headers",
  [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example:80"},
    {"Host": ""},
    {"Host": "[::1"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
  ],
)
def test_other_sites_are_refused(server, store, headers):
  before = len(store)
  status, _, body = ask(f"{server}api/photos", photo(), BYTES, **headers)
  assert status == 403 and "error" in json.loads(body)
  assert len(store) == before


def test_the_page_itself_is_not_refused(server):
  origin = {"Origin": server.rstrip("/"), "Sec_Fetch_Site": "same-origin"}
  assert ask(f"{server}api/photos", photo(), BYTES, **origin)[0] == 200
  port = server.rstrip("/").rpartition(":")[2]
  assert ask(server, Host=f"localhost:{port}")[0] == 200
  link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
  assert ask(server, **link)[0] == 200
  assert ask(f"{server}api/photos", photo(), BYTES, **link)[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", ""])
def test_what_a_form_of_another_site_could_send_is_refused(server, uploaded, kind):
  assert ask(f"{server}api/photos", photo(), kind)[0] == 415
  assert ask(f"{uploaded}/align", {"boxes": [BOX]}, kind)[0] == 415


@pytest.mark.parametrize(
  ("what", "question", "status"),
  [
    ("align", b"[", 400),
    ("align", [], 400),
    ("align", {}, 422),
    ("align", {"boxes": [[1, 2, 3]]}, 422),
    ("align", {"boxes": [["a", 2, 3, 4]]}, 422),
    ("align", {"boxes": [BOX] * 101}, 422),
    ("align", {"boxes": [[0] * 20_000] * 4}, 413),
    ("heatmap", {"box": BOX, "landmark": 68}, 422),
    ("heatmap", {"box": BOX, "landmark": -1}, 422),
    ("heatmap", {"box": BOX, "landmark": "1"}, 422),
    ("heatmap", {"box": None, "landmark": 1}, 422),
  ],
)
def test_senseless_questions_get_one_sentence(uploaded, what, question, status):
  answer = ask(f"{uploaded}/{what}", question)
  assert answer[0] == status
  assert json.loads(answer[2])["error"].endswith(".")


def test_old_photos_are_forgotten_and_the_page_is_told(server, store):
  names = [add(server, photo())[1]["id"] for _ in range(4)]
  assert len(store) == 3
  status, _, body = ask(f"{server}api/photos/{names[0]}/detect", {})
  assert status == 404 and "add it again" in json.loads(body)["error"]
  assert ask(f"{server}api/photos/{names[-1]}/detect", {})[0] == 200


def test_photos_are_forgotten_by_their_bytes_too_but_never_the_last_one():
  store = PhotoStore(max_photos=10, max_bytes=100)
  first, second = store.add(np.zeros((4, 4, 3), np.uint8)), store.add(np.zeros((4, 4, 3), np.uint8))
  store.get(first)  # now the youngest
  third = store.add(np.zeros((3, 5, 3), np.uint8))
  assert store.get(second) is None and store.get(first) is not None
  large = store.add(np.zeros((100, 100, 3), np.uint8))
  assert len(store) == 1 and store.get(third) is None and store.get(large) is not None


def test_without_a_detector_there_are_no_faces_but_a_sentence():
  with serving(Computer(Aligner(), None)) as server:
    assert json.loads(ask(f"{server}page.json")[2])["detector"] is None
    url = f"{server}api/photos/{add(server, photo())[1]['id']}"
    status, _, body = ask(f"{url}/detect", {})
    assert status == 422 and "draw a box" in json.loads(body)["error"]


def test_a_huge_photo_is_shown_reduced():
  content = shown(np.zeros((100, 2 * SHOWN_SIDE, 3), np.uint8))
  assert Image.open(io.BytesIO(content)).size == (SHOWN_SIDE, 50)
