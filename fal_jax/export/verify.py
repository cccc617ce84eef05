"""Whether what was written computes the same as the library itself.

On drawn faces, which need no data. A landmark that a rounding of the heatmaps would move is not
compared: where two cells are equally high, an argmax may take either.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.export
import numpy as np

from fal_jax import network, steps
from fal_jax.build import Setup
from fal_jax.errors import InputError

LIMIT = 1e-3  # px of the crop, that a landmark may differ
FACES = 4
_ROUNDING = 1e-5  # of a heatmap, relative to its peak


def drawn_faces(count: int, size: int) -> np.ndarray:
  """Simple faces before uneven ground, each a little different.

  Args:
    count: B.
    size: side of a crop, px.

  Returns:
    (B, size, size, 3) uint8 RGB.
  """
  rng = np.random.default_rng(0)
  return np.stack([_draw(rng, size) for _ in range(count)])


def _draw(rng: np.random.Generator, size: int) -> np.ndarray:
  """One face (size, size, 3) uint8."""
  ground = rng.uniform(60, 190, (6, 6, 3))
  image = cv2.resize(ground, (size, size), interpolation=cv2.INTER_CUBIC)
  skin = rng.uniform((150, 110, 90), (230, 190, 170))
  middle = size / 2 + rng.uniform(-0.03, 0.03, 2) * size

  def ellipse(x: float, y: float, width: float, height: float, colour: Any) -> None:
    """Fills an ellipse; all lengths in parts of the side, x and y from the middle."""
    fraction = 4  # bits of a fraction of a pixel
    centre = np.round((middle + np.array([x, y]) * size) * 2**fraction).astype(int).tolist()
    axes = np.round(np.array([width, height]) / 2 * size * 2**fraction).astype(int).tolist()
    cv2.ellipse(image, centre, axes, 0, 0, 360, tuple(colour), -1, cv2.LINE_AA, fraction)

  ellipse(0, 0, 0.72, 0.95, skin)
  for side in (-1, 1):
    ellipse(side * 0.17, -0.2, 0.2, 0.035, skin * 0.35)
    ellipse(side * 0.17, -0.11, 0.15, 0.07, (235, 235, 235))
    ellipse(side * 0.17, -0.11, 0.06, 0.07, (40, 30, 25))
  ellipse(0, 0.02, 0.06, 0.22, skin * 0.85)
  ellipse(0, 0.12, 0.14, 0.05, skin * 0.7)
  ellipse(0, 0.27, 0.28, 0.09, skin * (0.85, 0.5, 0.5))
  ellipse(0, 0.27, 0.24, 0.015, skin * 0.3)

  noisy = cv2.GaussianBlur(image, (0, 0), size / 128) + rng.normal(0, 3, image.shape)
  return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def differences(setup: Setup, variables: Any, directory: Path) -> dict[str, str]:
  """Runs the files of an export beside the library.

  Args:
    setup: what was exported.
    variables: `params` and `batch_stats`.
    directory: where the files are.

  Returns:
    Name of the file -> what was found, for the screen.

  Raises:
    InputError: one of them differs by more than `LIMIT`, or JAX may not use the CPU.
  """
  images = drawn_faces(FACES, setup.crop.size)
  # On the CPU, where all of them can be compared: accelerators round more coarsely.
  try:
    (cpu, *_) = jax.local_devices(backend="cpu")
  except RuntimeError as error:
    raise InputError(
      "The comparison runs on the CPU, which JAX_PLATFORMS hides: add cpu to it, or unset it."
    ) from error
  with jax.default_device(cpu):
    expected, steady = _native(setup, variables, images)
    found = {}
    for name, run in _RUNS.items():
      path = directory / name
      if path.is_file():
        result = run(path, images)
        found[name] = (
          "not compared: ONNX Runtime is not installed"
          if result is None
          else _compare(path, result, expected, steady)
        )
  return found


def _native(
  setup: Setup, variables: Any, images: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
  """Landmarks (B, K, 2) and scores (B, K) of images (B, S, S, 3), and which are steady (B, K)."""
  predict = functools.partial(steps.predict_step, model=setup.network, codec=setup.codec)

  def predict_and_show(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Landmarks, scores and heatmaps (B, H, W, K); XLA computes the network once."""
    landmarks, scores, _ = predict(variables, images)
    pixels = images.astype(np.float32) / 255
    return landmarks, scores, network.predict(setup.network, variables, pixels).heatmaps[-1]

  results = jax.jit(predict_and_show)(variables, images)
  landmarks, scores, heatmaps = map(np.asarray, results)

  decode = jax.jit(setup.codec.decode)
  plain = np.asarray(decode(heatmaps)[0])
  rng = np.random.default_rng(1)
  moved = np.zeros(scores.shape)
  for _ in range(4):
    noise = rng.choice(np.array([-_ROUNDING, _ROUNDING], np.float32), heatmaps.shape)
    peak = np.abs(heatmaps).max((1, 2), keepdims=True)
    rounded = np.asarray(decode(heatmaps + noise * peak)[0])
    moved = np.maximum(moved, np.abs(rounded - plain).max(-1))
  # Rounding differs between programs by a hundredth of this noise.
  return (landmarks, scores), moved < 100 * LIMIT


def _compare(
  path: Path,
  result: tuple[np.ndarray, np.ndarray],
  expected: tuple[np.ndarray, np.ndarray],
  steady: np.ndarray,
) -> str:
  """What is found of one file.

  Args:
    path: of the file.
    result: landmarks (B, K, 2) crop px and scores (B, K) of the file.
    expected: those of the library.
    steady: (B, K) bool, which are compared.

  Returns:
    "landmarks within 2e-05 px, scores within 1e-07".

  Raises:
    InputError: it differs.
  """
  distance = np.abs(result[0] - expected[0]).max(-1)[steady]
  largest = float(distance.max(initial=0))
  scores = float(np.abs(result[1] - expected[1]).max(initial=0))
  if not largest <= LIMIT:  # NaN is refused as well
    raise InputError(
      f"{path.name} differs from the library by {largest:.2g} px of the crop on drawn faces, and "
      f"{LIMIT:g} is allowed: nothing was exported. Please report it with the config of the run."
    )
  left_out = f"; {(~steady).sum()} of {steady.size} left out as undecided" * (not steady.all())
  return f"landmarks within {largest:.1e} px of fal_jax, scores within {scores:.1e}{left_out}"


def _run_stablehlo(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Landmarks (B, K, 2) and scores (B, K) of images (B, S, S, 3) by the file."""
  landmarks, scores = jax.export.deserialize(bytearray(path.read_bytes())).call(images)
  return np.asarray(landmarks), np.asarray(scores)


def _run_onnx(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
  """The same by ONNX Runtime; None where it is not installed."""
  try:
    import onnxruntime
  except ImportError:
    return None
  session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  landmarks, scores = session.run(["landmarks", "scores"], {"images": images})
  return landmarks, scores


_RUNS: Mapping[str, Callable[[Path, np.ndarray], tuple[np.ndarray, np.ndarray] | None]] = {
  "model.stablehlo": _run_stablehlo,
  "model.onnx": _run_onnx,
}
