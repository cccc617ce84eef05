"""Siamese consistency: what becomes of an ideal network's heatmaps, pulled back and combined."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import encode
from scipy import ndimage

from fal_jax import affine, siamese
from fal_jax.augment import View
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec

SIZE, STRIDE, CELLS = 256, 4, 64  # px of the crop, px per cell, cells of a heatmap
FLIP = np.array([3, 5, 2, 0, 4, 1, 7, 6])  # three pairs and two landmarks on the midline
K = len(FLIP)


def random_views(shape: tuple[int, int], *, shift: float = 0.0, seed: int = 0) -> View:
  """Views (V, B) over the paper's ranges, every second one mirrored, moved by up to `shift` px."""
  rng = np.random.default_rng(seed)
  centre = np.full((*shape, 2), (SIZE - 1) / 2)
  maps = affine.similarity(
    angle=np.radians(rng.uniform(-30, 30, shape)),
    scale=rng.uniform(0.85, 1.15, shape),
    src_centre=centre,
    dst_centre=centre + rng.uniform(-shift, shift, centre.shape),
  )

  mirrored = rng.uniform(size=shape) < 0.5
  maps = np.where(mirrored[..., None, None], affine.compose(affine.mirror(SIZE), maps), maps)
  return View(jnp.asarray(maps, jnp.float32), jnp.asarray(mirrored), jnp.ones((*shape, 3)))


def make_views(maps: list[np.ndarray], mirrored: list[bool]) -> View:
  """Views (V, 1) of one image."""
  maps = [
    affine.compose(affine.mirror(SIZE), m) if flag else m
    for m, flag in zip(maps, mirrored, strict=True)
  ]
  view_from_crop = jnp.asarray(np.stack(maps), jnp.float32)[:, None]
  return View(view_from_crop, jnp.asarray(mirrored)[:, None], jnp.ones((len(maps), 1, 3)))


def one_view(m: np.ndarray, mirrored: bool) -> View:
  """A `View` without leading axes."""
  return jax.tree.map(lambda a: a[0, 0], make_views([m], [mirrored]))


def turned(angle: float, scale: float, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
  """view_from_crop (2, 3): a rotation in degrees and a magnification about the centre, a shift."""
  centre = np.full(2, (SIZE - 1) / 2)
  return affine.similarity(
    angle=np.radians(angle), scale=scale, src_centre=centre, dst_centre=centre + np.array(shift)
  )


def gaussians(points: np.ndarray, sigma: float) -> np.ndarray:
  """(K, 2) px to (CELLS, CELLS, K), peak 1, in float64; `sigma` in cells."""
  x, y = ((points + 0.5) / STRIDE - 0.5).T
  row, column = np.mgrid[:CELLS, :CELLS][..., None]
  return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))


def ideal_heatmaps(points: np.ndarray, views: View, sigma: float) -> np.ndarray:
  """What a perfect network would predict: (1, V, B, CELLS, CELLS, K) for points (B, K, 2), crop px.

  In each view it draws Gaussians as large as the face is there, and calls the eye on the left of a
  mirrored image what it would call it in any other.
  """
  count, batch = views.mirrored.shape
  heatmaps = np.zeros((1, count, batch, CELLS, CELLS, points.shape[1]), np.float32)

  for v, b in np.ndindex(count, batch):
    m = np.asarray(views.view_from_crop[v, b], np.float64)
    moved = affine.apply(m, points[b])
    named = moved[FLIP] if views.mirrored[v, b] else moved
    heatmaps[0, v, b] = gaussians(named, sigma * np.hypot(m[0, 0], m[1, 0]))

  return heatmaps


@functools.partial(jax.jit, static_argnames="reduce")
def combine(
  heatmaps: np.ndarray, views: View, reduce: siamese.Reduce = "mean"
) -> tuple[jax.Array, jax.Array]:
  return siamese.combine(
    jnp.asarray(heatmaps), views, stride=STRIDE, flip=jnp.asarray(FLIP), reduce=reduce
  )


@jax.jit
def pull_back(heatmaps: np.ndarray, view: View) -> tuple[jax.Array, jax.Array]:
  return siamese.pull_back(jnp.asarray(heatmaps), view, stride=STRIDE, flip=jnp.asarray(FLIP))


def interior_points(batch: int) -> np.ndarray:
  """(batch, K, 2) crop px, uniformly random where every view sees them whole."""
  rng = np.random.default_rng(0)
  radius = 80 * np.sqrt(rng.uniform(size=(batch, K)))
  angle = rng.uniform(0, 2 * np.pi, (batch, K))
  return (SIZE - 1) / 2 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("sigma", "residue", "decoded_mean", "decoded_sum"),
  [(1, 0.0128, 0.096, 0.216), (1.5, 0.0028, 0.037, 0.116), (2, 0.00093, 0.0245, 0.050)],
)
def test_an_ideal_network_leaves_only_the_known_residue_of_interpolation(
  sigma, residue, decoded_mean, decoded_sum
):
  """Both were measured once with an independent implementation.

  They are the fraction of the target's energy that the loss cannot reach, and the mean distance in
  heatmap px at which the decoder reads what the two views say together.
  """
  batch = 64
  points = interior_points(batch)
  views = random_views((2, batch))
  target = gaussians(points.reshape(-1, 2), sigma).reshape(CELLS, CELLS, batch, K)
  target = target.transpose(2, 0, 1, 3)
  heatmaps = ideal_heatmaps(points, views, sigma)

  mean, seen = (np.asarray(array) for array in combine(heatmaps, views))
  assert ((mean[0] - target) ** 2).sum() / (target**2).sum() == pytest.approx(residue, rel=0.05)
  assert (seen[:, 20:44, 20:44] > 1.9998).all()

  decode = jax.jit(HeatmapCodec(sigma=sigma).decode)
  for reduce, expected in (("mean", decoded_mean), ("sum", decoded_sum)):
    landmarks, _ = decode(combine(heatmaps, views, reduce)[0][0])
    distance = np.linalg.norm(landmarks - points, axis=-1).mean() / STRIDE
    assert distance == pytest.approx(expected, rel=0.1)


def test_two_plain_views_of_an_ideal_network_give_the_target_itself():
  points = interior_points(1)
  views = make_views([turned(0, 1)] * 2, [False, False])

  combined, seen = combine(ideal_heatmaps(points, views, 1.5), views)

  np.testing.assert_allclose(combined[0], encode(HeatmapCodec(sigma=1.5), points), atol=1e-5)
  np.testing.assert_array_equal(seen, 2)


def test_mirroring_a_view_changes_nothing_once_it_is_undone():
  points = interior_points(1)
  m = turned(17, 0.9, (6, -3))
  plain, mirrored = (make_views([m], [flag]) for flag in (False, True))

  (a, seen_a), (b, seen_b) = (
    combine(ideal_heatmaps(points, views, 1.5), views) for views in (plain, mirrored)
  )

  np.testing.assert_allclose(a, b, atol=1e-4)
  np.testing.assert_allclose(seen_a, seen_b, atol=1e-4)


def test_a_mirrored_view_has_its_channels_exchanged_and_a_plain_one_keeps_them():
  heatmaps = np.broadcast_to(np.arange(K, dtype=np.float32), (CELLS, CELLS, K))
  for flag, expected in ((False, np.arange(K)), (True, FLIP)):
    pulled, _ = pull_back(heatmaps, one_view(turned(0, 1), flag))
    np.testing.assert_allclose(pulled[30, 30], expected, atol=1e-4)


def scipy_pull_back(heatmaps: np.ndarray, view_from_crop: np.ndarray) -> np.ndarray:
  """Reads every cell of the crop's frame where the view shows it, (CELLS, CELLS, K), by SciPy."""
  x, y = where_cells_are_seen(view_from_crop)
  channels = [
    ndimage.map_coordinates(channel, [y, x], order=1, mode="grid-constant")
    for channel in np.moveaxis(heatmaps.astype(np.float64), -1, 0)
  ]
  return np.stack(channels, -1)


def where_cells_are_seen(view_from_crop: np.ndarray) -> np.ndarray:
  """(2, CELLS, CELLS) float64: x and y in the view's heatmap of every cell of the crop's."""
  row, column = np.mgrid[:CELLS, :CELLS]
  crop_px = (np.stack([column, row], -1) + 0.5) * STRIDE - 0.5
  view_px = affine.apply(view_from_crop, crop_px)
  return np.moveaxis((view_px + 0.5) / STRIDE - 0.5, -1, 0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_pulling_back_equals_scipy_including_borders_and_validity(mirrored):
  heatmaps = np.random.default_rng(0).normal(size=(CELLS, CELLS, K)).astype(np.float32)
  view = one_view(turned(-24, 1.13, (30, 11)), mirrored)

  pulled, validity = pull_back(heatmaps, view)

  m = np.asarray(view.view_from_crop, np.float64)
  expected = scipy_pull_back(heatmaps[..., FLIP] if mirrored else heatmaps, m)
  np.testing.assert_allclose(pulled, expected, atol=2e-4)
  expected = scipy_pull_back(np.ones((CELLS, CELLS, 1)), m)[..., 0]
  np.testing.assert_allclose(validity, expected, atol=1e-4)
  assert validity.min() == 0 and validity.max() > 0.9999


def test_a_landmark_that_one_view_does_not_see_keeps_its_full_height_in_the_mean():
  points = np.full((1, K, 2), 60.0)
  views = make_views([turned(0, 1), turned(0, 1, (-100, -100))], [False, False])
  heatmaps = ideal_heatmaps(points, views, 1.5)

  alone, _ = combine(heatmaps[:, :1], jax.tree.map(lambda a: a[:1], views))
  both, seen = combine(heatmaps, views)

  np.testing.assert_allclose(both[..., 10:20, 10:20, :], alone[..., 10:20, 10:20, :], atol=1e-4)
  assert both.max() > 0.9
  np.testing.assert_allclose(seen[:, :20, :20], 1, atol=1e-5)
  np.testing.assert_allclose(seen[:, 26:, 26:], 2, atol=1e-5)


def test_where_no_view_looked_nothing_is_seen_and_nothing_is_infinite():
  views = make_views([turned(0, 1, (-400, 0)), turned(0, 1, (0, 160))], [False, False])

  combined, seen = combine(np.ones((1, 2, 1, CELLS, CELLS, K), np.float32), views)

  assert np.isfinite(combined).all()
  assert not np.asarray(seen)[0, 24:].any() and not np.asarray(combined)[0, 0, 24:].any()
  np.testing.assert_allclose(seen[0, :24], 1, atol=1e-5)
  np.testing.assert_allclose(combined[0, 0, :24], 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_the_sum_is_the_mean_times_the_fraction_of_views_that_looked(count):
  views = random_views((count, 3), shift=50, seed=1)
  heatmaps = np.random.default_rng(0).normal(size=(2, count, 3, CELLS, CELLS, K)).astype(np.float32)

  (mean, seen), (total, _) = (
    jax.tree.map(np.asarray, combine(heatmaps, views, reduce)) for reduce in ("mean", "sum")
  )

  ones = np.ones((CELLS, CELLS, 1))
  maps = np.asarray(views.view_from_crop)
  expected = sum(
    np.stack([scipy_pull_back(ones, m)[..., 0] for m in maps[v]]) for v in range(count)
  )
  np.testing.assert_allclose(seen, expected, atol=1e-4)

  clear = seen > 0.01  # a tiny fraction of a cell is mostly rounding
  np.testing.assert_allclose((mean * seen[..., None])[:, clear], total[:, clear], atol=2e-3)


def test_stacks_and_images_are_combined_separately():
  views = random_views((2, 3), seed=2)
  heatmaps = np.random.default_rng(0).normal(size=(2, 2, 3, CELLS, CELLS, K)).astype(np.float32)

  together, _ = combine(heatmaps, views)

  for s, b in np.ndindex(2, 3):
    views_of_image = jax.tree.map(lambda a, b=b: a[:, b : b + 1], views)
    alone, _ = combine(heatmaps[s : s + 1, :, b : b + 1], views_of_image)
    np.testing.assert_allclose(alone[0, 0], together[s, b], atol=1e-5)


def test_the_gradient_of_combine_is_its_transpose():
  """It is linear in the heatmaps: <combine(a), b> = <a, gradient of <combine(.), b>>.

  The views reach outside too.
  """
  views = random_views((2, 1), shift=80, seed=3)
  rng = np.random.default_rng(0)
  a = rng.normal(size=(1, 2, 1, CELLS, CELLS, K))
  b = rng.normal(size=(1, 1, CELLS, CELLS, K))

  with jax.enable_x64(True):

    def inner(heatmaps):
      return (combine(heatmaps, views)[0] * b).sum()

    value, gradient = jax.jit(jax.value_and_grad(inner))(jnp.asarray(a))

  np.testing.assert_allclose((np.asarray(gradient) * a).sum(), value, rtol=1e-4)
  assert np.abs(gradient).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_gradient_of_pulling_back_equals_scattering_and_finite_differences(mirrored):
  view = one_view(turned(-24, 1.13, (30, 11)), mirrored)
  rng = np.random.default_rng(0)
  heatmaps, b = rng.normal(size=(2, CELLS, CELLS, K)).astype(np.float32)

  def inner(heatmaps):
    return (pull_back(heatmaps, view)[0] * b).sum()

  gradient = np.asarray(jax.jit(jax.grad(inner))(heatmaps))

  x, y = where_cells_are_seen(np.asarray(view.view_from_crop, np.float64))
  scattered = np.zeros((CELLS, CELLS, K))
  for dx, dy in np.ndindex(2, 2):
    tap_x, tap_y = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
    weight = (1 - np.abs(x - tap_x)) * (1 - np.abs(y - tap_y))
    inside = (tap_x >= 0) & (tap_x < CELLS) & (tap_y >= 0) & (tap_y < CELLS)
    np.add.at(scattered, (tap_y[inside], tap_x[inside]), weight[inside, None] * b[inside])
  expected = scattered[..., np.argsort(FLIP)] if mirrored else scattered
  np.testing.assert_allclose(gradient, expected, atol=2e-4)

  direction = rng.normal(size=heatmaps.shape).astype(np.float32)
  change = inner(jnp.asarray(heatmaps + direction)) - inner(jnp.asarray(heatmaps - direction))
  expected = float((gradient * direction).sum())
  assert float(change / 2) == pytest.approx(expected, rel=2e-3, abs=0.5)


def test_an_unknown_way_to_combine_is_refused_with_the_known_ones():
  views = make_views([turned(0, 1)], [False])
  with pytest.raises(InputError, match="sum, mean"):
    combine(np.zeros((1, 1, 1, CELLS, CELLS, K), np.float32), views, "median")
