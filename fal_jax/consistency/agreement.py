"""How well a trained network's landmarks in several views of one face agree (Sec. 3.4).

In random views, as they are drawn in training, or in crops that lie a fraction of a heatmap cell
apart, as the boxes of a detector do from one frame of a video to the next.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax import affine, data, evaluate, metrics, parallel, steps
from fal_jax.augment import View
from fal_jax.build import Setup

SEED = 0  # of the views, the same for every run, so that networks are compared on the same ones
SHIFTS = 4  # along each side of a heatmap cell


class InViews(NamedTuple):
  """Landmarks of N faces in V views of each, brought back.

  Attributes:
    landmarks: (N, V, K, 2) float64, px of the image.
    true: (N, K, 2) float64, px of the image, NaN where not annotated.
    norm: (N,) float64, px, normaliser of each face; NaN where it has none.
  """

  landmarks: np.ndarray
  true: np.ndarray
  norm: np.ndarray


def spreads(seen: InViews) -> np.ndarray:
  """How far the landmarks of each face lie from their mean over its views.

  Args:
    seen: the landmarks; those that left a view count as well: there the network is asked to guess.

  Returns:
    (N,) float64: root of the mean squared distance of a landmark from its mean over the views, mean
    over landmarks, in percent of the normaliser; NaN for faces without it, which is all that
    annotations are needed for.
  """
  return 100 * metrics.view_spread(seen.landmarks).mean(-1) / seen.norm


def shared_errors(seen: InViews) -> np.ndarray:
  """What all views have wrong alike: the error of their mean.

  A landmark's mean squared error in V views is the squared error of their mean plus its squared
  spread: training may lower the one and raise the other.

  Args:
    seen: the landmarks.

  Returns:
    (N,) float64, percent, as `metrics.nme`.
  """
  return metrics.nme(seen.landmarks.mean(1), seen.true, seen.norm)


def random_views(recipe: steps.Recipe, index: jax.Array) -> View:
  """Views as training draws them, the same every time.

  Args:
    recipe: gives the ranges, and V as `num_views`.
    index: (B,) int32, numbers of the faces.

  Returns:
    `View` of shape (V, B).
  """
  return steps.sample_views(recipe, jnp.zeros((), jnp.int32), index)


def shifted_views(recipe: steps.Recipe, index: jax.Array) -> View:
  """Crops on a grid of `SHIFTS` x `SHIFTS` over one heatmap cell, symmetric about the plain crop.

  They differ in nothing but where they lie; the face has not moved. A decoder that reads positions
  off cells, and a network that knows where its cells are, spread here. At a stride of 4 px all of
  them lie half-way between two pixels, so that resampling blurs each alike.

  Args:
    recipe: gives the size of a cell.
    index: (B,) int32, of which only B matters.

  Returns:
    `View` of shape (SHIFTS**2, B): moved, and nothing else.
  """
  along = recipe.codec.stride * ((jnp.arange(SHIFTS) + 0.5) / SHIFTS - 0.5)
  shifts = jnp.stack(jnp.meshgrid(along, along), -1).reshape(-1, 1, 2)

  size = (SHIFTS**2, *index.shape)
  return View(
    view_from_crop=affine.translation(jnp.broadcast_to(shifts, (*size, 2))),
    mirrored=jnp.zeros(size, bool),
    colour=jnp.ones((*size, 3)),
  )


def in_views(
  setup: Setup,
  source: data.Source,
  variables: Any,
  *,
  num_views: int,
  views_of: Callable[[steps.Recipe, jax.Array], View] = random_views,
) -> InViews:
  """Predicts each face in several views.

  Random ones are what training draws: rotation, scale, shift, mirror and colour within the ranges
  of `config.augment`. They are functions of `SEED` and the face's number alone.

  Args:
    setup: gives the network, the codec, the crop, the ranges and the normaliser.
    source: the N records.
    variables: `params` and `batch_stats`.
    num_views: V, at least 2; `SHIFTS` squared for `shifted_views`.
    views_of: `random_views` or `shifted_views`.

  Returns:
    The N faces.
  """
  recipe = dataclasses.replace(
    setup.recipe(steps_per_epoch=1), model=setup.network, num_views=num_views, seed=SEED
  )
  predict = parallel.over_devices(
    functools.partial(predict_in_views, recipe=recipe, views_of=views_of)
  )

  # The stored crop is the crop of a larger square at the same scale.
  rule = dataclasses.replace(setup.crop, size=setup.crop.stored_size)
  stored_from_crop = affine.invert(setup.crop.crop_from_stored.astype(np.float64))
  batch_size = max(1, setup.config.eval.batch_size // num_views)  # the network sees V times as many

  parts, seen = [], 0
  for batch, images in evaluate.padded_batches(source, rule=rule, batch_size=batch_size):
    index = np.arange(seen, seen + batch_size, dtype=np.int32)
    landmarks_crop = predict(variables, {"image": images, "index": index})[: len(batch)]
    seen += len(batch)

    image_from_stored = affine.invert(np.stack([example["crop_from_image"] for example in batch]))
    image_from_crop = affine.compose(image_from_stored, stored_from_crop)
    landmarks = affine.apply(image_from_crop[:, None], landmarks_crop.astype(np.float64))
    true = np.stack([example["landmarks"] for example in batch])
    norm = metrics.norms(true, setup.markup)[setup.norm]
    parts.append((landmarks, true, np.where(norm >= metrics.MIN_NORM, norm, np.nan)))
  return InViews(*map(np.concatenate, zip(*parts, strict=True)))


def predict_in_views(
  variables: Any,
  batch: steps.Batch,
  *,
  recipe: steps.Recipe,
  views_of: Callable[[steps.Recipe, jax.Array], View],
) -> jax.Array:
  """Landmarks in views of each face, brought back to the crop.

  Args:
    variables: `params` and `batch_stats`.
    batch: `image` (B, Hs, Hs, 3) uint8, stored crops; `index` (B,) int32.
    recipe: gives the network for prediction, the codec and the mirror permutation.
    views_of: `random_views` or `shifted_views`.

  Returns:
    (B, V, K, 2) float32, crop px.
  """
  views = views_of(recipe, batch["index"])
  images = steps.render_views(recipe, batch["image"], views)

  flat_images = images.reshape(-1, *images.shape[2:])
  landmarks, _, _ = steps.predict_step(
    variables, flat_images, model=recipe.model, codec=recipe.codec
  )
  in_views = landmarks.reshape(*images.shape[:2], *landmarks.shape[1:])
  return jnp.swapaxes(landmarks_from_views(in_views, views, flip=jnp.asarray(recipe.flip)), 0, 1)


def landmarks_from_views(landmarks: jax.Array, views: View, *, flip: jax.Array) -> jax.Array:
  """The inverse of `siamese.landmarks_in_views`.

  Args:
    landmarks: (V, B, K, 2) float32, px of each view, under the names they have there.
    views: `View` of shape (V, B).
    flip: (K,) int, the landmark that each becomes in a mirror.

  Returns:
    (V, B, K, 2) float32, crop px.
  """
  named = jnp.where(views.mirrored[..., None, None], landmarks[..., flip, :], landmarks)
  return affine.apply(affine.invert(views.view_from_crop), named)
