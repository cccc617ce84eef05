"""What happens to photographs besides the view: light, colour, sharpness, noise, things in front.

None of it is in the paper, and all of it is off by default. It is for networks that meet
photographs of any kind: see `configs/README.md` for what each brought.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from fal_jax.errors import InputError

# Of large flat areas: contrast is multiplied and brightness moved until much of the image clips.
CLIPPING_CONTRAST = (1.3, 4.0)
CLIPPING_SHIFT = 0.6
TINT_OF_CLIPPING = 0.3  # of half of these: channels clip apart
PRIMARY_BACKGROUND = 0.7  # share of flat backgrounds in one of the eight corners of RGB
BACKGROUND_DISTANCE = (2.0, 2.9)  # standard deviations of the landmarks' cloud
LUMA = (0.299, 0.587, 0.114)  # BT.601, of grey images
BLUR_SIGMA = 0.3  # px, the least
QUARTER_RESOLUTION = 0.35  # share of low-resolution views at a quarter, others are at a half
OCCLUDER_RADIUS = (0.05, 0.28)  # of the view's side, along each axis


@dataclasses.dataclass(frozen=True)
class Corruption:
  """How likely and how strong; 0 everywhere changes nothing.

  Attributes:
    flat_background: probability that all beyond the face is painted in one colour.
    gain: standard deviation of the logarithm of a factor of each colour channel.
    gamma: largest logarithm, to either side, of the exponent of all pixels.
    clipping: probability that contrast and brightness are moved until large areas clip.
    grey: probability of no colour.
    blur: probability of a Gaussian blur.
    blur_sigma: px, its largest standard deviation.
    low_resolution: probability of half or a quarter of the resolution, blown up again.
    noise: probability of Gaussian noise, of one colour or three.
    noise_deviation: its largest standard deviation; white is 1.
    occluder: probability of a turned rectangle or ellipse in front, of one colour or cut from
      another image of the batch.
  """

  flat_background: float = 0.0
  gain: float = 0.0
  gamma: float = 0.0
  clipping: float = 0.0
  grey: float = 0.0
  blur: float = 0.0
  blur_sigma: float = 1.6
  low_resolution: float = 0.0
  noise: float = 0.0
  noise_deviation: float = 0.12
  occluder: float = 0.0

  def __post_init__(self) -> None:
    """Checks the values.

    Raises:
      InputError: with every problem, one per line.
    """
    problems = []
    for field in dataclasses.fields(self):
      value, amount = getattr(self, field.name), field.name in AMOUNTS
      if not 0 <= value <= (LARGEST_AMOUNT if amount else 1):
        kind = f"from 0 to {LARGEST_AMOUNT:g}" if amount else "a probability from 0 to 1"
        problems.append(f"config.corruption.{field.name} must be {kind}, got {value}.")
    if self.blur_sigma < BLUR_SIGMA:
      problems.append(
        f"config.corruption.blur_sigma must be at least {BLUR_SIGMA}, got {self.blur_sigma}."
      )
    if problems:
      raise InputError("\n".join(problems))

  @property
  def is_none(self) -> bool:
    """Whether images stay as they are."""
    return not any(
      getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name not in ("blur_sigma", "noise_deviation")
    )


AMOUNTS = ("gain", "gamma", "blur_sigma", "noise_deviation")
LARGEST_AMOUNT = 3.0


@jax.named_scope("corruption")
def corrupt_views(
  key: jax.Array,
  images: jax.Array,
  landmarks: jax.Array,
  index: jax.Array,
  *,
  amounts: Corruption,
) -> jax.Array:
  """Corrupts all views of a step, each under a key of its example's number and its own.

  What may cover an image is the one before it in this device's share of the batch.

  Args:
    key: () PRNG key of the step.
    images: (V, B, H, H, 3) float32 in [0, 1].
    landmarks: (V, B, K, 2) float32, px of each view, NaN where not annotated.
    index: (B,) int32, number of each example in its split.
    amounts: how likely and how strong.

  Returns:
    (V, B, H, H, 3) float32 in [0, 1].
  """

  def one(
    view: jax.Array, example: jax.Array, image: jax.Array, other: jax.Array, points: jax.Array
  ) -> jax.Array:
    own_key = jax.random.fold_in(jax.random.fold_in(key, example), view)
    return corrupt(own_key, image, other, points, amounts=amounts)

  over_views = jax.vmap(jax.vmap(one, (None, 0, 0, 0, 0)), (0, None, 0, 0, 0))
  return over_views(jnp.arange(len(images)), index, images, jnp.roll(images, 1, 1), landmarks)


def corrupt(
  key: jax.Array,
  image: jax.Array,
  other: jax.Array,
  landmarks: jax.Array,
  *,
  amounts: Corruption,
) -> jax.Array:
  """One view as another camera, light or owner would have made it.

  Args:
    key: () PRNG key.
    image: (H, H, 3) float32 in [0, 1].
    other: (H, H, 3) float32, another image, which may cover part of this one.
    landmarks: (K, 2) float32, px of the view, NaN where not annotated; the face is around them.
    amounts: how likely and how strong.

  Returns:
    (H, H, 3) float32 in [0, 1].
  """
  keys = iter(jax.random.split(key, 8))
  image = flat_background(next(keys), image, landmarks, probability=amounts.flat_background)
  image = gain_and_gamma(next(keys), image, gain=amounts.gain, gamma=amounts.gamma)
  image = clipping(next(keys), image, probability=amounts.clipping)
  image = grey(next(keys), image, probability=amounts.grey)
  image = blur(next(keys), image, probability=amounts.blur, sigma=amounts.blur_sigma)
  image = low_resolution(next(keys), image, probability=amounts.low_resolution)
  image = noise(next(keys), image, probability=amounts.noise, deviation=amounts.noise_deviation)
  image = occluder(next(keys), image, other, probability=amounts.occluder)
  return jnp.clip(image, 0, 1)


def flat_background(
  key: jax.Array, image: jax.Array, landmarks: jax.Array, *, probability: float
) -> jax.Array:
  """Paints what is far from the landmarks' cloud in one colour, with a soft border.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32 in [0, 1].
    landmarks: (K, 2) float32 px, NaN where not annotated; with fewer than three nothing happens.
    probability: of it.

  Returns:
    (H, W, 3) float32.
  """
  keys = jax.random.split(key, 5)
  known = jnp.isfinite(landmarks).all(-1)
  chosen = jax.random.bernoulli(keys[0], probability) & (known.sum() >= 3)

  corner = jax.random.bernoulli(keys[1], 0.5, (3,)).astype(jnp.float32)
  is_corner = jax.random.bernoulli(keys[2], PRIMARY_BACKGROUND)
  colour = jnp.where(is_corner, corner, jax.random.uniform(keys[3], (3,)))

  edge, steepness = jax.random.uniform(keys[4], (2,))
  border = _between(edge, *BACKGROUND_DISTANCE)
  distance = _distance_from_cloud(image, landmarks, known)
  share = jax.nn.sigmoid((distance - border) * _between(steepness, 3.0, 15.0))[..., None]
  return jnp.where(chosen, image * (1 - share) + share * colour[None, None, :], image)


def gain_and_gamma(key: jax.Array, image: jax.Array, *, gain: float, gamma: float) -> jax.Array:
  """Scales each colour channel by a factor of its own, then raises all to one power.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32 in [0, 1].
    gain: standard deviation of the factors' logarithm.
    gamma: largest logarithm of the exponent, to either side.

  Returns:
    (H, W, 3) float32 in [0, 1].
  """
  of_gain, of_gamma = jax.random.split(key)
  factors = jnp.exp(gain * jax.random.normal(of_gain, (1, 1, 3)))
  exponent = jnp.exp(gamma * jax.random.uniform(of_gamma, minval=-1))
  # The root of black has no finite slope; nobody differentiates this, but NaN would spread.
  return jnp.power(jnp.clip(image * factors, 1e-4, 1), exponent)


def clipping(key: jax.Array, image: jax.Array, *, probability: float) -> jax.Array:
  """Blown out, drowned or over-saturated: contrast and brightness until large areas are flat.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32 in [0, 1].
    probability: of it.

  Returns:
    (H, W, 3) float32 in [0, 1].
  """
  keys = jax.random.split(key, 5)
  contrast = jax.random.uniform(keys[0], minval=CLIPPING_CONTRAST[0], maxval=CLIPPING_CONTRAST[1])
  shift = CLIPPING_SHIFT * jax.random.uniform(keys[1], minval=-1)
  tint = TINT_OF_CLIPPING * jax.random.normal(keys[2], (1, 1, 3))
  tinted = jax.random.bernoulli(keys[3], 0.5)

  clipped = jnp.clip((image - 0.5) * contrast + 0.5 + shift + tint * tinted, 0, 1)
  return jnp.where(jax.random.bernoulli(keys[4], probability), clipped, image)


def grey(key: jax.Array, image: jax.Array, *, probability: float) -> jax.Array:
  """Takes the colour away.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32 in [0, 1].
    probability: of it.

  Returns:
    (H, W, 3) float32 in [0, 1].
  """
  luma = (image * jnp.array(LUMA)[None, None, :]).sum(-1, keepdims=True)
  chosen = jax.random.bernoulli(key, probability)
  return jnp.where(chosen, jnp.broadcast_to(luma, image.shape), image)


def blur(key: jax.Array, image: jax.Array, *, probability: float, sigma: float) -> jax.Array:
  """A Gaussian of 7 taps along both axes, edges repeated.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32.
    probability: of it.
    sigma: px, the largest.

  Returns:
    (H, W, 3) float32.
  """
  of_chance, of_width = jax.random.split(key)
  width = jax.random.uniform(of_width, minval=BLUR_SIGMA, maxval=sigma)
  taps = jnp.arange(-3.0, 4.0)
  weights = jnp.exp(-0.5 * (taps / width) ** 2)
  weights = weights / weights.sum()

  height, columns = image.shape[:2]
  padded = jnp.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")
  rows = functools.reduce(jnp.add, (weights[i] * padded[i : i + height] for i in range(7)))
  moved = (weights[i] * rows[:, i : i + columns] for i in range(7))
  blurred = functools.reduce(jnp.add, moved)
  return jnp.where(jax.random.bernoulli(of_chance, probability), blurred, image)


def low_resolution(key: jax.Array, image: jax.Array, *, probability: float) -> jax.Array:
  """Means of blocks of 2 or 4 px, blown up again bilinearly.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32; H and W are multiples of 4.
    probability: of it.

  Returns:
    (H, W, 3) float32.
  """

  def at(block: int) -> jax.Array:
    height, width = image.shape[0] // block, image.shape[1] // block
    small = image.reshape(height, block, width, block, 3).mean((1, 3))
    return jax.image.resize(small, image.shape, "bilinear")

  of_chance, of_block = jax.random.split(key)
  coarse = jnp.where(jax.random.bernoulli(of_block, QUARTER_RESOLUTION), at(4), at(2))
  return jnp.where(jax.random.bernoulli(of_chance, probability), coarse, image)


def noise(key: jax.Array, image: jax.Array, *, probability: float, deviation: float) -> jax.Array:
  """Gaussian noise, of one colour or three, not clipped.

  Args:
    key: () PRNG key.
    image: (H, W, 3) float32.
    probability: of it.
    deviation: the largest standard deviation.

  Returns:
    (H, W, 3) float32.
  """
  keys = jax.random.split(key, 4)
  three = jax.random.normal(keys[0], image.shape)
  shared = jnp.broadcast_to(three[..., :1], image.shape)
  pattern = jnp.where(jax.random.bernoulli(keys[1], 0.5), three, shared)
  added = image + deviation * jax.random.uniform(keys[2]) * pattern
  return jnp.where(jax.random.bernoulli(keys[3], probability), added, image)


def occluder(
  key: jax.Array, image: jax.Array, other: jax.Array, *, probability: float
) -> jax.Array:
  """Something in front: a turned rectangle or ellipse, of one colour or cut from another image.

  Args:
    key: () PRNG key.
    image: (H, H, 3) float32.
    other: (H, H, 3) float32.
    probability: of it.

  Returns:
    (H, H, 3) float32.
  """
  keys = jax.random.split(key, 7)
  size = image.shape[0]
  centre = size * jax.random.uniform(keys[0], (2,))
  smallest, largest = (jnp.log(fraction) for fraction in OCCLUDER_RADIUS)
  radius = size * jnp.exp(jax.random.uniform(keys[1], (2,), minval=smallest, maxval=largest))
  angle = jnp.pi * jax.random.uniform(keys[2])

  # Along and across the occluder, in its radii.
  row, column = jnp.mgrid[:size, :size]
  from_x, from_y = column - centre[0], row - centre[1]
  along = jnp.abs(from_x * jnp.cos(angle) + from_y * jnp.sin(angle)) / radius[0]
  across = jnp.abs(from_y * jnp.cos(angle) - from_x * jnp.sin(angle)) / radius[1]
  rectangle, ellipse = jnp.maximum(along, across), jnp.hypot(along, across)
  distance = jnp.where(jax.random.bernoulli(keys[3], 0.5), rectangle, ellipse)
  cover = jnp.clip((1 - distance) * radius.min() / 1.5 + 0.5, 0, 1)[..., None]  # a soft edge

  colour = jnp.broadcast_to(jax.random.uniform(keys[4], (1, 1, 3)), image.shape)
  fill = jnp.where(jax.random.bernoulli(keys[5], 0.5), colour, other)
  chosen = jax.random.bernoulli(keys[6], probability)
  return jnp.where(chosen, image * (1 - cover) + cover * fill, image)


def _between(share: jax.Array, low: float, high: float) -> jax.Array:
  """(...,) shares of the way from low to high."""
  return low + (high - low) * share


def _distance_from_cloud(image: jax.Array, landmarks: jax.Array, known: jax.Array) -> jax.Array:
  """Mahalanobis distance (H, W) of an image's pixels from the known landmarks (K, 2) px."""
  points = jnp.where(known[:, None], landmarks, 0)
  count = jnp.maximum(known.sum(), 1)
  mean = points.sum(0) / count
  x, y = jnp.where(known[:, None], landmarks - mean[None], 0).T
  xx, xy, yy = (product.sum() / count for product in (x * x, x * y, y * y))
  determinant = jnp.maximum(xx * yy - xy * xy, 1e-6)

  row, column = jnp.mgrid[: image.shape[0], : image.shape[1]]
  from_x, from_y = column - mean[0], row - mean[1]
  squared = yy * from_x**2 - 2 * xy * from_x * from_y + xx * from_y**2
  return jnp.sqrt(jnp.maximum(squared / determinant, 0))
