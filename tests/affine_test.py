"""fal_jax.affine against SciPy and by its own algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import warp
from scipy import ndimage

from fal_jax import affine


def random_map(seed: int, shape: tuple[int, ...] = ()) -> np.ndarray:
  """(*shape, 2, 3) float64."""
  rng = np.random.default_rng(seed)
  return affine.similarity(
    angle=rng.uniform(-np.pi, np.pi, shape),
    scale=rng.uniform(0.5, 2, shape),
    src_centre=rng.uniform(-20, 20, (*shape, 2)),
    dst_centre=rng.uniform(-20, 20, (*shape, 2)),
  )


def scipy_warp(image: np.ndarray, dst_from_src: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """The same sampling by SciPy, (size[0], size[1], C) float64.

  SciPy counts (row, column) and wants the map from the result to the source.
  """
  inverse = np.linalg.inv(np.vstack([dst_from_src, [0, 0, 1]]))[:2]
  swapped = inverse[::-1, [1, 0, 2]]

  channels = [
    ndimage.affine_transform(
      image[..., c].astype(np.float64),
      swapped[:, :2],
      swapped[:, 2],
      output_shape=size,
      order=1,
      mode="grid-constant",
    )
    for c in range(image.shape[-1])
  ]
  return np.stack(channels, -1)


QUARTER_TURN = affine.similarity(
  angle=np.pi / 2, scale=1.0, src_centre=np.zeros(2), dst_centre=np.zeros(2)
)


def test_compose_does_its_second_argument_first():
  shift = affine.translation(np.array([10.0, 0.0]))
  point = np.array([1.0, 0.0])

  turn_first = affine.apply(affine.compose(shift, QUARTER_TURN), point)
  shift_first = affine.apply(affine.compose(QUARTER_TURN, shift), point)

  np.testing.assert_allclose(turn_first, [10, 1], atol=1e-12)
  np.testing.assert_allclose(shift_first, [0, 11], atol=1e-12)


def test_a_positive_angle_turns_x_towards_y():
  turned = affine.apply(QUARTER_TURN, np.array([1.0, 0.0]))
  np.testing.assert_allclose(turned, [0, 1], atol=1e-12)


def test_compose_equals_the_product_of_homogeneous_matrices():
  a = random_map(0, (5,))
  b = random_map(1, (5,))

  last = np.broadcast_to([[[0, 0, 1]]], (5, 1, 3))
  product = np.concatenate([a, last], 1) @ np.concatenate([b, last], 1)

  np.testing.assert_allclose(affine.compose(a, b), product[:, :2], atol=1e-12)


def test_a_map_and_its_inverse_compose_to_identity():
  m = random_map(2, (7,))
  identity = np.broadcast_to(np.eye(3)[:2], (7, 2, 3))

  np.testing.assert_allclose(affine.compose(m, affine.invert(m)), identity, atol=1e-12)
  np.testing.assert_allclose(affine.compose(affine.invert(m), m), identity, atol=1e-12)


def test_a_batch_of_maps_moves_each_image_s_points_by_its_own_map():
  maps = random_map(3, (4,))
  points = np.random.default_rng(3).normal(size=(4, 6, 2))

  one_by_one = np.stack([affine.apply(m, p) for m, p in zip(maps, points, strict=True)])

  np.testing.assert_allclose(affine.apply(maps, points), one_by_one, atol=1e-12)


def test_numpy_in_gives_float64_numpy_out_and_jax_in_gives_jax_out():
  m = random_map(4)
  assert isinstance(affine.invert(m), np.ndarray) and affine.invert(m).dtype == np.float64
  assert isinstance(affine.invert(jnp.asarray(m)), jax.Array)


def test_mirror_is_an_involution_that_swaps_the_outermost_pixels():
  mirror = affine.mirror(64)
  np.testing.assert_array_equal(affine.compose(mirror, mirror), np.eye(3)[:2])
  np.testing.assert_array_equal(affine.apply(mirror, np.array([0.0, 5.0])), [63, 5])


def test_shrinking_commutes_with_mirroring():
  """With x / stride instead of (x + 0.5) / stride - 0.5 these two differ by 0.75 heatmap px."""
  small = affine.shrink(4)
  mirror_first = affine.compose(small, affine.mirror(256))
  shrink_first = affine.compose(affine.mirror(64), small)
  np.testing.assert_allclose(mirror_first, shrink_first, atol=1e-6)


def test_shrink_maps_the_edges_of_the_large_array_to_those_of_the_small_one():
  edges = affine.apply(affine.shrink(4), np.array([[-0.5, -0.5], [255.5, 255.5]]))
  np.testing.assert_allclose(edges, [[-0.5, -0.5], [63.5, 63.5]])


def test_a_map_at_a_stride_moves_heatmap_pixels_as_the_map_moves_crop_pixels():
  maps = random_map(5, (3,))
  points = np.random.default_rng(5).uniform(-20, 280, (3, 6, 2))
  heatmap_from_crop = affine.shrink(4)

  moved_in_crop = affine.apply(heatmap_from_crop, affine.apply(maps, points))
  moved_in_heatmap = affine.apply(
    affine.at_stride(maps, 4), affine.apply(heatmap_from_crop, points)
  )

  np.testing.assert_allclose(moved_in_heatmap, moved_in_crop, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_warp_equals_scipy_everywhere_including_the_borders(seed):
  rng = np.random.default_rng(seed)
  image = rng.normal(size=(23, 31, 3)).astype(np.float32)
  m = affine.similarity(
    angle=rng.uniform(-3, 3),
    scale=rng.uniform(0.6, 1.6),
    src_centre=np.array([15.0, 11.0]),
    dst_centre=rng.uniform(5, 20, 2),
  )

  warped = warp(image, m, (19, 27))

  np.testing.assert_allclose(warped, scipy_warp(image, m, (19, 27)), atol=5e-5)


def test_warp_by_identity_returns_the_image():
  image = np.random.default_rng(0).normal(size=(9, 7, 2)).astype(np.float32)
  np.testing.assert_array_equal(warp(image, np.eye(3)[:2], (9, 7)), image)


def test_warp_by_mirror_equals_reversing_the_columns():
  image = np.random.default_rng(0).normal(size=(9, 8, 2)).astype(np.float32)
  np.testing.assert_array_equal(warp(image, affine.mirror(8), (9, 8)), image[:, ::-1])


def test_warp_moves_a_bright_pixel_to_where_apply_moves_its_centre():
  image = np.zeros((40, 40, 1), np.float32)
  image[12, 25] = 1  # x = 25, y = 12
  m = affine.translation(np.array([-7.0, 9.0]))

  warped = warp(image, m, (40, 40))[..., 0]

  row, column = np.unravel_index(np.argmax(warped), (40, 40))
  np.testing.assert_array_equal(affine.apply(m, np.array([25.0, 12.0])), [column, row])


def test_warp_takes_uint8_without_overflow():
  image = np.full((8, 8, 3), 255, np.uint8)
  half = affine.translation(np.array([0.5, 0.0]))
  np.testing.assert_allclose(warp(image, half, (8, 8))[:, 1:], 255)


def test_a_warp_far_outside_is_black_and_finite():
  image = np.ones((8, 8, 1), np.float32)
  far = affine.translation(np.array([1e12, -1e12]))
  assert not np.asarray(warp(image, far, (8, 8))).any()


@pytest.mark.slow
def test_gradients_of_warp_agree_with_finite_differences():
  rng = np.random.default_rng(0)
  image = rng.normal(size=(9, 8, 2))
  weight = rng.normal(size=(7, 10, 2))
  m = affine.similarity(
    angle=0.31, scale=1.13, src_centre=np.array([3.6, 4.1]), dst_centre=np.array([4.3, 3.2])
  )

  with jax.enable_x64(True):

    def total(image, m):
      return (affine.warp(image, m, (7, 10)) * weight).sum()

    d_image, d_map = jax.jit(jax.grad(total, (0, 1)))(jnp.asarray(image), jnp.asarray(m))

  # Linear in the image: the oracle's difference quotient is exact.
  direction = rng.normal(size=image.shape)
  expected = (scipy_warp(direction, m, (7, 10)) * weight).sum()
  np.testing.assert_allclose((np.asarray(d_image) * direction).sum(), expected, rtol=1e-4)

  step = rng.normal(size=m.shape) * 1e-6
  difference = scipy_warp(image, m + step, (7, 10)) - scipy_warp(image, m - step, (7, 10))
  expected = (difference * weight).sum() / 2
  np.testing.assert_allclose((np.asarray(d_map) * step).sum(), expected, rtol=1e-3)


def test_the_adjoint_of_warp_is_its_transpose():
  """<warp(a), b> = <a, adjoint(b)>, for an image that lies partly outside."""
  rng = np.random.default_rng(1)
  a = rng.normal(size=(12, 11, 3)).astype(np.float32)
  b = rng.normal(size=(10, 14, 3)).astype(np.float32)
  m = affine.similarity(
    angle=-0.5, scale=0.9, src_centre=np.array([5.0, 5.0]), dst_centre=np.array([3.0, 9.0])
  )

  @jax.jit
  def warp_and_adjoint(a, b):
    warped, pull = jax.vjp(lambda image: affine.warp(image, m, (10, 14)), a)
    return warped, pull(b)[0]

  warped, adjoint = map(np.asarray, warp_and_adjoint(a, b))
  np.testing.assert_allclose((warped * b).sum(), (a * adjoint).sum(), rtol=1e-4)


def scattered(weight: np.ndarray, dst_from_src: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """The gradient of (warp(image) * weight).sum() by definition, (*size, C) float64.

  Every pixel of the result gives back to the four that it was mixed from.
  """
  row, column = np.mgrid[: weight.shape[0], : weight.shape[1]]
  src_from_dst = affine.invert(np.asarray(dst_from_src, np.float64))
  x, y = np.moveaxis(affine.apply(src_from_dst, np.stack([column, row], -1)), -1, 0)

  gradient = np.zeros((*size, weight.shape[-1]))
  for dx, dy in np.ndindex(2, 2):
    tap_x, tap_y = np.floor(x) + dx, np.floor(y) + dy
    inside = (tap_x >= 0) & (tap_x < size[1]) & (tap_y >= 0) & (tap_y < size[0])
    share = ((1 - np.abs(x - tap_x)) * (1 - np.abs(y - tap_y)))[inside, None] * weight[inside]
    np.add.at(gradient, (tap_y[inside].astype(int), tap_x[inside].astype(int)), share)

  return gradient


def about_the_middle(linear: list, shift: tuple[float, float] = (0.3, -1.7)) -> np.ndarray:
  """A map (2, 3) of the tests' (12, 11) images that leaves their middle near the result's."""
  linear = np.array(linear, np.float64)
  middle = np.array([5.0, 5.5])
  return np.concatenate([linear, (middle + shift - linear @ middle)[:, None]], 1)


def turned(degrees: float, scale: float) -> list:
  """Linear part (2, 2) of a rotation and magnification."""
  angle = np.radians(degrees)
  cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
  return [[cosine, -sine], [sine, cosine]]


MAPS = {
  "the paper's largest": turned(30, 1 / 0.85),
  "mirrored": [[-1.1, 0.2], [0.2, 1.1]],
  "identity": turned(0, 1),
  "small": turned(-70, 0.3),
  "at the edge of the near reach": turned(0, 2),
  "just beyond": turned(45, 1.5),
  "three times": turned(20, 3),
  "wider than high": [[4.2, 0.0], [0.0, 0.5]],
  "sheared": [[1.0, 2.5], [0.0, 1.0]],
  "far larger than the result": turned(10, 40),
}


@jax.jit
def gradient_of_warp(image: jax.Array, m: jax.Array, weight: jax.Array) -> jax.Array:
  return jax.grad(lambda image: (affine.warp(image, m, weight.shape[:2]) * weight).sum())(image)


@jax.jit
def automatic_gradient_of_warp(image: jax.Array, m: jax.Array, weight: jax.Array) -> jax.Array:
  def total(image):
    return (affine._sample(image, m, weight.shape[:2]) * weight).sum()

  return jax.grad(total)(image)


@pytest.mark.parametrize("name", MAPS)
def test_the_gradient_of_warp_equals_scattering_and_automatic_differentiation(name):
  """However far the map spreads a pixel: no range of maps is taken for granted."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(12, 11, 2)).astype(np.float32)
  weight = rng.normal(size=(14, 16, 2)).astype(np.float32)
  m = about_the_middle(MAPS[name]).astype(np.float32)

  gradient = gradient_of_warp(image, m, weight)

  expected = scattered(weight, m, (12, 11))
  assert np.abs(expected).max() > 0.1
  np.testing.assert_allclose(gradient, expected, atol=1e-4)

  automatic = automatic_gradient_of_warp(image, m, weight)
  np.testing.assert_allclose(gradient, automatic, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.slow
def test_maps_of_a_batch_that_spread_pixels_near_and_far_have_their_own_gradients():
  rng = np.random.default_rng(1)
  images = rng.normal(size=(3, 12, 11, 2)).astype(np.float32)
  weights = rng.normal(size=(3, 14, 16, 2)).astype(np.float32)
  turns = (20, 1.1), (-40, 3.5), (5, 0.6)
  maps = np.stack([about_the_middle(turned(*turn)) for turn in turns]).astype(np.float32)

  together = jax.jit(jax.vmap(gradient_of_warp))(images, maps, weights)

  alone = [gradient_of_warp(*one) for one in zip(images, maps, weights, strict=True)]
  np.testing.assert_allclose(together, alone, atol=1e-5)


def test_neither_warp_nor_its_gradient_scatters():
  m = jnp.asarray(affine.mirror(8))

  def total(image):
    return (affine.warp(image, m, (8, 8)) ** 2).sum()

  program = str(jax.make_jaxpr(jax.grad(total))(jnp.ones((8, 8, 2))))

  assert "gather" in program and "scatter" not in program


def test_the_gradient_of_the_map_is_the_same_for_uint8_pixels():
  image = np.random.default_rng(0).integers(0, 255, (9, 8, 3)).astype(np.uint8)
  m = jnp.asarray(about_the_middle(turned(12, 1.2)), jnp.float32)

  @jax.jit
  def gradient(image):
    return jax.grad(lambda m: affine.warp(image, m, (7, 7))[2:5].sum())(m)

  of_bytes = gradient(image)
  of_floats = gradient(image.astype(np.float32))

  assert np.abs(of_bytes).max() > 1
  np.testing.assert_allclose(of_bytes, of_floats, rtol=1e-5)
