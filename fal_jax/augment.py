"""Random views of a face: the transforms T of Eq. 6, drawn from a key, rendered on the device."""

import dataclasses
import math
from typing import Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp

from fal_jax import affine
from fal_jax.errors import InputError

ColourMode = Literal["channel_gain", "photometric"]


@dataclasses.dataclass(frozen=True)
class ViewRange:
  """What a random view may do. Defaults: Bulat et al. 2021, Sec. 5.1, where it states them.

  Attributes:
    rotation: largest angle to either side, degrees.
    scale: smallest and largest magnification.
    translation: largest shift along either axis, as a fraction of the crop's side. The paper
      mentions none.
    mirror: probability of a mirrored view. The paper has "image flipping", without a probability.
    colour: smallest and largest colour factor; of what says `colour_mode`.
    colour_mode: the paper has "color (0.6, 1.4)" and does not say of what. "channel_gain": red,
      green and blue are scaled, each by a factor of its own, as the public training code of stacked
      hourglasses [31] does with these very numbers. "photometric": brightness, contrast and
      saturation are.
  """

  rotation: float = 30.0
  scale: tuple[float, float] = (0.85, 1.15)
  translation: float = 0.0
  mirror: float = 0.5
  colour: tuple[float, float] = (0.6, 1.4)
  colour_mode: ColourMode = "photometric"

  def __post_init__(self) -> None:
    """Checks the ranges.

    Raises:
      InputError: with every problem, one per line. It names the keys of the config, where users set
        these values.
    """
    problems = []
    for name in ("scale", "colour"):
      factors = tuple(getattr(self, name))
      if len(factors) != 2 or not 0 < factors[0] <= factors[1] < math.inf:
        problems.append(
          f"config.augment.{name} must be two factors, 0 < smallest <= largest, got {factors}."
        )

    if self.colour_mode not in get_args(ColourMode):
      problems.append(
        f"config.augment.colour_mode is {self.colour_mode!r}; choose one of "
        f"{', '.join(get_args(ColourMode))}."
      )

    if not 0 <= self.mirror <= 1:
      problems.append(f"config.augment.mirror must be in [0, 1], got {self.mirror}.")

    for name in ("rotation", "translation"):
      if not 0 <= getattr(self, name) < math.inf:
        problems.append(
          f"config.augment.{name} must be finite and not negative, got {getattr(self, name)}."
        )

    if problems:
      raise InputError("\n".join(problems))


@flax.struct.dataclass
class View:
  """One sampled transform, or a batch of them with leading axes.

  Attributes:
    view_from_crop: (..., 2, 3) float32, crop px to view px; includes mirroring.
    mirrored: (...,) bool; a mirrored view has its left and right landmarks exchanged.
    colour: (..., 3) float32 factors: of red, green and blue, or of brightness, contrast and
      saturation (`ViewRange.colour_mode`).
  """

  view_from_crop: jax.Array
  mirrored: jax.Array
  colour: jax.Array


@jax.named_scope("views")
def sample_view(key: jax.Array, *, size: int, ranges: ViewRange) -> View:
  """Draws one view; every factor is uniform over its range.

  Args:
    key: () PRNG key.
    size: side of the crop and of the view, px.
    ranges: what the view may do.

  Returns:
    One `View`, without leading axes.
  """
  keys = jax.random.split(key, 5)
  angle = jnp.deg2rad(ranges.rotation) * jax.random.uniform(keys[0], minval=-1)
  scale = jax.random.uniform(keys[1], minval=ranges.scale[0], maxval=ranges.scale[1])
  shift = size * ranges.translation * jax.random.uniform(keys[2], (2,), minval=-1)
  mirrored = jax.random.bernoulli(keys[3], jnp.float32(ranges.mirror))
  colour = jax.random.uniform(keys[4], (3,), minval=ranges.colour[0], maxval=ranges.colour[1])

  centre = jnp.full(2, (size - 1) / 2)
  plain = affine.similarity(angle=angle, scale=scale, src_centre=centre, dst_centre=centre + shift)
  view_from_crop = jnp.where(mirrored, affine.compose(affine.mirror(size), plain), plain)

  return View(view_from_crop, mirrored, colour)


@jax.named_scope("views")
def render_view(
  stored: jax.Array,
  view: View,
  *,
  crop_from_stored: affine.Array,
  size: int,
  colour_mode: ColourMode,
) -> jax.Array:
  """Renders one view from the stored pixels in a single resampling step.

  Args:
    stored: (Hs, Ws, 3) uint8, the crop with its margin.
    view: one `View`.
    crop_from_stored: (2, 3) stored px to crop px.
    size: side of the view.
    colour_mode: what the colour factors of the view are of.

  Returns:
    (size, size, 3) float32 in [0, 1]; black where the stored pixels end.
  """
  view_from_stored = affine.compose(view.view_from_crop, crop_from_stored)
  image = affine.warp(stored, view_from_stored, (size, size)) / 255
  if colour_mode == "channel_gain":
    return jnp.clip(image * view.colour[None, None, :], 0, 1)

  import dm_pix  # here, since whoever only predicts renders no views

  brightness, contrast, saturation = view.colour
  # dm_pix offers brightness only as an offset; the paper's (0.6, 1.4) are factors. Nothing in
  # dm_pix clips.
  image = jnp.clip(image * brightness, 0, 1)
  image = jnp.clip(dm_pix.adjust_contrast(image, contrast), 0, 1)
  return jnp.clip(dm_pix.adjust_saturation(image, saturation), 0, 1)
