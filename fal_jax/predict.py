"""Landmarks on photographs: image and boxes in, points in image pixels out."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, crop, landmarks, metrics, parallel, steps
from fal_jax import network as networks
from fal_jax.build import Setup
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network import Network
from fal_jax.output.folders import locate
from fal_jax.weights import exported, named
from fal_jax.weights.pretrained import Pretrained

# Faces per call of the network: as many as there are, in powers of two up to this one. Each size
# compiles when it is first met.
MAX_BATCH = 16

# With less effort XLA's CPU compiler is done a fifth sooner, and a face takes as long.
_CPU_EFFORT = {"xla_backend_optimization_level": 1}

# Of the views beside the upright one: small, since the network is at its best on upright faces.
VIEW_ROTATION = 10.0  # degrees to either side
GOLDEN = 0.618034  # multiples of it, modulo 1, fill an interval evenly however many there are


@dataclasses.dataclass(frozen=True)
class FaceLandmarks:
  """Landmarks of the faces in one image.

  Attributes:
    landmarks: (N, K, 2) float64, x and y in image px, pixel-centre.
    scores: (N, K) float32, height of each landmark's peak: about 1 where the network is sure, near
      0 where it sees nothing.
    covariance: (N, K, 2, 2) float64, image px squared: spread of the heat around each landmark. It
      compares landmarks and directions, and is not a confidence region.
    uncertainty: (N, K) float64, image px: RMS distance of the views' landmarks from their mean, if
      the aligner looks at more than one view; else None.
  """

  landmarks: np.ndarray
  scores: np.ndarray
  covariance: np.ndarray
  uncertainty: np.ndarray | None = None


class FaceAligner:
  """A trained network, ready for photographs. It needs boxes from any face detector.

  It runs on one device. The first call with a new number of faces compiles for seconds; see
  `warm_up`, and JAX_COMPILATION_CACHE_DIR, which names a folder that keeps what is compiled.

  Attributes:
    setup: what the network was trained with: mark-up, crop, codec.
    refine: how often the box of the predicted landmarks is cut out again and aligned.
    views: looks at each face, of which the first is upright and every second one is mirrored; the
      landmarks are their mean.
    origin: where the weights are from, ready for JSON.
    variables: `params` and `batch_stats`, on the device.
  """

  def __init__(
    self,
    setup: Setup,
    variables: Any,
    *,
    refine: int = 0,
    views: int = 1,
    origin: Mapping[str, Any] | None = None,
  ):
    if refine < 0:
      raise InputError(f"refine must be 0 or more, got {refine}.")
    if refine and setup.crop.box == "dataset":
      raise InputError(
        "refine cuts out the box of the predicted landmarks, and this network was trained on the "
        "dataset's boxes (data.box=dataset): leave refine at 0."
      )
    if views < 1:
      raise InputError(f"views must be 1 or more, got {views}.")
    self.setup = setup
    self.refine = refine
    self.views = views
    self.origin = dict(origin or {})
    # Once: 8 % of the time of a face otherwise.
    self.variables = jax.device_put(variables, jax.local_devices()[0])
    # Flax modules are hashable, which the protocol does not say.
    self._predict = _predict_step(setup.network, setup.codec)  # type: ignore[arg-type]
    self._warming: Future | None = None

  @classmethod
  def from_checkpoint(
    cls, path: str | Path, *, decode: str | None = None, refine: int = 0, views: int = 1
  ) -> "FaceAligner":
    """Loads the newest checkpoint of a run, with the config it was trained under.

    Args:
      path: the run's `--workdir`, or the `checkpoints` folder in it.
      decode: another decoder than the run's, see `HeatmapCodec.decode`.
      refine: see the class.
      views: see the class.

    Returns:
      An aligner with the network of the run.

    Raises:
      InputError: there is no run, no readable checkpoint or no such decoder.
    """
    from fal_jax import restore  # and with it orbax: here, since shipped networks need neither

    workdir = locate(path)
    workdir = workdir.parent if workdir.name == "checkpoints" else workdir
    setup = build.setup(_with_decoder(restore.saved_config(workdir), decode))
    variables, step = restore.restore_variables(setup, workdir)
    origin = {"workdir": str(workdir), "step": step}
    return cls(setup, variables, refine=refine, views=views, origin=origin)

  @classmethod
  def from_pretrained(
    cls, name: str, *, decode: str | None = None, refine: int = 0, views: int = 1
  ) -> "FaceAligner":
    """Loads a network that has a name, offline.

    Args:
      name: "free-68" or "w300-68", which come with the package, or the user's own export;
        `fal_jax.models` describes them.
      decode: another decoder than the network's, see `HeatmapCodec.decode`.
      refine: see the class.
      views: see the class.

    Returns:
      An aligner with that network. One printed line says so where its licence restricts its use.

    Raises:
      InputError: there is no such network or decoder, or its file is damaged.
    """
    return cls.from_loaded(named.load(name), decode=decode, refine=refine, views=views)

  @classmethod
  def from_exported(
    cls, directory: str | Path, *, decode: str | None = None, refine: int = 0, views: int = 1
  ) -> "FaceAligner":
    """Loads what --mode=export wrote, offline, without the run or its config.

    Args:
      directory: the folder of the export.
      decode: another decoder than the export's, see `HeatmapCodec.decode`.
      refine: see the class.
      views: see the class.

    Returns:
      An aligner with that network. One printed line says so where its licence restricts its use.

    Raises:
      InputError: the folder is not an export or damaged, or there is no such decoder.
    """
    return cls.from_loaded(exported.load(directory), decode=decode, refine=refine, views=views)

  @classmethod
  def from_loaded(
    cls, model: Pretrained, *, decode: str | None = None, refine: int = 0, views: int = 1
  ) -> "FaceAligner":
    """Takes a network that `weights.named` has read; prints what its user must be told.

    The other arguments and what is raised are those of `from_pretrained`.
    """
    setup = build.setup(_with_decoder(model.config, decode))
    if model.notice:
      print(model.notice, flush=True)
    origin = {"name": model.name, "sha256": model.card["sha256"]}
    return cls(setup, model.variables, refine=refine, views=views, origin=origin)

  def warm_up(self, *, faces: int = 1) -> None:
    """Starts to compile for images of that many faces, and returns at once.

    Meanwhile the caller may read the first image and find its faces. Calls wait for what is left,
    and raise what went wrong.

    Args:
      faces: how many there will probably be in one image; others compile when they are met.

    Raises:
      InputError: it is not a positive number.
    """
    if faces < 1:
      raise InputError(f"faces must be 1 or more, got {faces}.")
    size = self.setup.crop.size

    def predict_black() -> None:
      for batch in set(_batches(faces * self.views)):
        self._predict(self.variables, np.zeros((batch, size, size, 3), np.uint8))

    worker = ThreadPoolExecutor(1, "warm_up")
    self._warming = worker.submit(predict_black)
    worker.shutdown(wait=False)  # the thread ends when it is done

  def __call__(self, image: np.ndarray, boxes: np.ndarray) -> FaceLandmarks:
    """Locates the landmarks of each box.

    Args:
      image: (H, W, 3) uint8 RGB.
      boxes: (N, 4) x0, y0, x1, y1 in image px, around the face from the brows to the chin; may
        reach beyond the image, and N may be 0.

    Returns:
      (N, K, 2) landmarks with (N, K) scores and (N, K, 2, 2) covariances, image px.

    Raises:
      InputError: the image is not uint8 RGB, or a box is inverted, empty or not finite.
    """
    image, boxes = _checked(image, boxes)
    result = self._align(image, boxes)
    for _ in range(self.refine):
      boxes = landmarks.refined_boxes(result.landmarks, boxes)
      result = self._align(image, boxes)
    return result

  def heatmaps(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The heatmaps that the landmarks of each box are read off: those of its upright crop.

    Args:
      image: (H, W, 3) uint8 RGB.
      boxes: (N, 4) x0, y0, x1, y1 in image px, as for the landmarks.

    Returns:
      (N, S, S, K) float32, of the last stack; S is the size of the codec.

    Raises:
      InputError: as for the landmarks.
    """
    image, boxes = _checked(image, boxes)
    rule, size = self.setup.crop, self.setup.codec.size
    predict = _heatmap_step(self.setup.network)  # type: ignore[arg-type]
    heatmaps = np.zeros((len(boxes), size, size, self.setup.markup.num), np.float32)
    for row, box in enumerate(boxes):
      face = crop.extract(image, crop.crop_from_image(box, rule), rule.size)
      heatmaps[row] = predict(self.variables, face[None])[0]
    return heatmaps

  def _align(self, image: np.ndarray, boxes: np.ndarray) -> FaceLandmarks:
    """All views of all boxes (N, 4) image px, and what they say together."""
    rule = self.setup.crop
    crops_from_image = np.array([crop.crop_from_image(box, rule) for box in boxes])
    views_from_crop, mirrored = _views(self.views, rule.size)
    count, num_landmarks = len(boxes), self.setup.markup.num

    # (N V, 2, 3), the views of one face next to each other.
    views_from_image = affine.compose(
      views_from_crop[None], crops_from_image.reshape(-1, 1, 2, 3)
    ).reshape(-1, 2, 3)
    points, scores, covariance = self._predict_views(image, views_from_image)

    # From the views to the image, and mirrored landmarks back to their names.
    images_from_view = affine.invert(views_from_image)
    linear = images_from_view[:, None, :, :2]
    points = affine.apply(images_from_view, points)
    covariance = linear @ covariance @ linear.swapaxes(-1, -2)

    by_face = (count, self.views, num_landmarks)
    points, scores, covariance = (
      _names_restored(array.reshape(*by_face, *array.shape[2:]), mirrored, self.setup.markup.flip)
      for array in (points, scores, covariance)
    )

    uncertainty = metrics.view_spread(points) if self.views > 1 else None
    return FaceLandmarks(points.mean(1), scores.mean(1), covariance.mean(1), uncertainty)

  def _predict_views(
    self, image: np.ndarray, views_from_image: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts out views (N, 2, 3) and predicts: (N, K, 2) view px, (N, K), (N, K, 2, 2) view px^2."""
    if self._warming is not None:
      self._warming.result()

    size, num_landmarks = self.setup.crop.size, self.setup.markup.num
    points = np.zeros((len(views_from_image), num_landmarks, 2))
    scores = np.zeros(points.shape[:2], np.float32)
    covariance = np.zeros((*points.shape, 2))

    first = 0
    for batch in _batches(len(views_from_image)):
      rows = slice(first, first + batch)
      images = np.stack([crop.extract(image, each, size) for each in views_from_image[rows]])
      points[rows], scores[rows], covariance[rows] = self._predict(self.variables, images)
      first += batch

    return points, scores, covariance


@functools.lru_cache(maxsize=8)
def _predict_step(network: Network, codec: HeatmapCodec) -> Callable[..., Any]:
  """`steps.predict_step`, compiled; aligners of the same network share what is compiled."""
  return _compiled(functools.partial(steps.predict_step, model=network, codec=codec))


@functools.lru_cache(maxsize=8)
def _heatmap_step(network: Network) -> Callable[..., Any]:
  """From images (B, H, H, 3) uint8 to the last stack's heatmaps (B, S, S, K), compiled."""

  def step(variables: Any, images: jax.Array) -> jax.Array:
    return networks.predict(network, variables, images.astype(jnp.float32) / 255).heatmaps[-1]

  return _compiled(step)


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
  """A function that is compiled for each shape that it meets, as this device likes it."""
  platform = jax.local_devices()[0].platform
  options = parallel.compiler_options(platform)
  if platform == "cpu":
    options |= _CPU_EFFORT
  return jax.jit(step, compiler_options=options or None)


def _with_decoder(config: ConfigDict, decode: str | None) -> ConfigDict:
  """The config, or a copy of it with another decoder."""
  if decode is None:
    return config
  config = config.copy_and_resolve_references()
  config.codec.decode = decode
  return config


def _checked(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Image (H, W, 3) uint8 and boxes (N, 4) float64, or an InputError that says what they are."""
  image, boxes = np.asarray(image), np.asarray(boxes, np.float64)
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
    raise InputError(
      f"the image must be uint8 RGB of shape (H, W, 3), got {image.dtype} {image.shape}."
    )
  if not image.size:
    raise InputError(f"the image has no pixels, its shape is {image.shape}.")

  if boxes.size == 0:
    boxes = boxes.reshape(0, 4)
  if boxes.ndim != 2 or boxes.shape[-1] != 4:
    raise InputError(
      f"boxes must have shape (N, 4), x0, y0, x1, y1 for each face, got {boxes.shape}."
    )
  return image, boxes


def _batches(count: int) -> list[int]:
  """Sizes of batches for `count` images: powers of two, so that few programs are compiled."""
  sizes = []
  while count:
    size = min(MAX_BATCH, 1 << (count.bit_length() - 1))
    sizes.append(size)
    count -= size
  return sizes


def _views(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
  """The upright view, and others that are turned a little, every second one of all mirrored.

  Args:
    count: V.
    size: side of the crop and of the views, px.

  Returns:
    views_from_crop (V, 2, 3) float64 and mirrored (V,) bool.
  """
  number = np.arange(count)
  turns = np.where(number > 1, 2 * (number * GOLDEN % 1) - 1, 0)
  centre = np.full((count, 2), (size - 1) / 2)
  turned = affine.similarity(
    angle=np.radians(VIEW_ROTATION * turns),
    scale=np.ones(count),
    src_centre=centre,
    dst_centre=centre,
  )
  mirrored: np.ndarray = number % 2 == 1
  views_from_crop = np.array(turned)
  views_from_crop[mirrored] = affine.compose(affine.mirror(size), turned[mirrored])
  return views_from_crop, mirrored


def _names_restored(array: np.ndarray, mirrored: np.ndarray, flip: np.ndarray) -> np.ndarray:
  """(N, V, K, ...), of mirrored views (V,) the landmark that each is without the mirror."""
  shape = (1, -1) + (1,) * (array.ndim - 2)
  return np.where(mirrored.reshape(shape), array[:, :, flip], array)
