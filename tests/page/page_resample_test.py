"""The browser's crops, resized images and readings of heatmaps are those of the library."""

import base64

import cv2
import jax.numpy as jnp
import numpy as np
import pages
import pytest

from fal_jax import crop, heatmap

pytestmark = pytest.mark.heavy

RULE = crop.CropRule(size=128, stored_size=208, face=110.0)
SIDES = 301, 407  # rows and columns

# fmt: off
BOXES = [
  [100, 90, 200, 190], [100.3, 90.7, 180.2, 155.1], [145.5, 150.5, 255.5, 200],  # near the scale 1
  [10, 10, 390.5, 290], [20, 20, 250, 240], [-200, -200, 600, 700], [0, 0, 4000, 3000],  # shrunk
  [-30, -40, 90.5, 60], [350, 250, 450, 330], [900, 900, 1000, 1000],  # over the edge, and beyond
  [50, 50, 60, 61],
]
# fmt: on


@pytest.fixture(scope="module")
def page(visitors):
  with pages.serving() as url:
    yield visitors(url)


@pytest.fixture(scope="module")
def image():
  """(H, W, 3) uint8: noise on something smooth."""
  random = np.random.default_rng(0)
  smooth = cv2.resize(random.integers(0, 256, (38, 51, 3)).astype(np.float32), SIDES[::-1])
  return (smooth + random.normal(0, 15, smooth.shape)).clip(0, 255).astype(np.uint8)


def text(array):
  return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def run(page, image, body, **options):
  """The bytes that a line of JavaScript makes of an image."""
  script = f"""async ({{ content, width, height, options }}) => {{
    const m = await import("./browser_resample.js");
    const data = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const image = {{ width, height, data }};
    const result = new Blob([({body}).data]);
    return new Promise((resolve) => {{
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.split(",")[1]);
      reader.readAsDataURL(result);
    }});
  }}"""
  height, width = image.shape[:2]
  question = {"content": text(image), "width": width, "height": height, "options": options}
  return np.frombuffer(base64.b64decode(page.evaluate(script, question)), np.uint8)


def difference(result, expected):
  """The largest difference, grey levels, and the fraction of values that differ."""
  error = np.abs(result.astype(int) - expected.ravel())
  return error.max(), (error > 0).mean()


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [3, 4])
def test_crops_are_those_of_the_library(page, image, box, channels):
  expected = crop.extract(image, crop.crop_from_image(np.array(box, float), RULE), RULE.size)
  step = max(box[2] - box[0], box[3] - box[1]) / RULE.face
  lines = [
    {"start": (low + high) / 2 - (RULE.size - 1) / 2 * step, "step": step}
    for low, high in ((box[0], box[2]), (box[1], box[3]))
  ]
  given = np.dstack([image, np.full(SIDES, 255, np.uint8)])[..., :channels]
  result = run(
    page, given, "m.extract(image, options.x, options.y, options.size)",
    x=lines[0], y=lines[1], size=RULE.size,
  )  # fmt: skip
  worst, often = difference(result, expected)
  assert worst <= 1 and often < 0.01


@pytest.mark.parametrize("size", [(203, 150), (333, 200), (100, 75), (406, 300), (25, 19)])
def test_shrunk_images_are_opencv_s(page, image, size):
  expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  result = run(page, image, "m.resizeArea(image, ...options.size)", size=size)
  worst, often = difference(result, expected)
  assert worst <= 1 and often < 0.001


def test_halved_images_are_opencv_s(page, image):
  even = image[:300, :406]
  expected = cv2.resize(even, (203, 150), interpolation=cv2.INTER_AREA)
  result = run(page, even, "m.resizeArea(image, 203, 150)")
  np.testing.assert_array_equal(result, expected.ravel())


@pytest.mark.parametrize("size", [(203, 150), (333, 200), (500, 400), (814, 602), (407, 301)])
def test_bilinear_images_are_opencv_s(page, image, size):
  expected = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
  result = run(page, image, "m.resizeLinear(image, ...options.size)", size=size)
  worst, often = difference(result, expected)
  assert worst <= 1 and often < 0.002
  transposed = run(page, image, "m.resizeLinear(image, ...options.size, true)", size=size)
  as_rows = result.reshape(size[1], size[0], 3).swapaxes(0, 1)
  np.testing.assert_array_equal(transposed, as_rows.ravel())


def test_heatmaps_are_read_as_the_library_reads_them(page):
  """Peaks in the middle, on the border and beyond it, of several heights, with noise."""
  codec = heatmap.HeatmapCodec(size=32, stride=4, sigma=1.5)
  random = np.random.default_rng(0)
  crop_px = np.concatenate([random.uniform(-4, 131, (30, 2)), [[0, 0], [127, 0], [64, 127.4]]])
  maps = np.array(codec.encode(jnp.asarray(crop_px)[None]))[0] * random.uniform(0.2, 1, 33)
  maps = (maps + random.normal(0, 0.01, maps.shape)).astype(np.float32)
  script = """async ({ maps, codec }) => {
    const { readings } = await import("./browser_peaks.js");
    return maps.map((values) => readings({ size: codec.size, values }, codec));
  }"""
  options = {name: getattr(codec, name) for name in ("size", "sigma", "window", "temperature")}
  values = maps.reshape(-1, 33).T.tolist()
  read = page.evaluate(script, {"maps": values, "codec": options})

  for name in ("argmax", "local_softargmax", "calibrated"):
    reader = heatmap.HeatmapCodec(size=32, stride=4, sigma=1.5, decoding=name)
    expected = (np.array(reader.decode(jnp.asarray(maps))[0]) + 0.5) / 4 - 0.5
    np.testing.assert_allclose([each[name] for each in read], expected, atol=1e-3)
