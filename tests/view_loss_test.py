"""The loss in the frames of the views, without a warp, and the readings of Eq. 6."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_dataset
from compiled import combine, encode, landmarks_in_views, window_positions
from quick_xla import QUICKLY
from step_fixtures import CROP, FLIP, RECIPE, make_batch, views_of

from fal_jax import affine, build, steps
from fal_jax.augment import View
from fal_jax.crop import CropRule
from fal_jax.heatmap import HeatmapCodec

CELLS = CROP // 4
IN_VIEW = dataclasses.replace(RECIPE, frame="view")


def index_of(landmarks: np.ndarray) -> np.ndarray:
  return np.arange(len(landmarks), dtype=np.int32)


def landmark_loss(recipe: steps.Recipe, heatmaps: np.ndarray, landmarks: np.ndarray) -> float:
  views = views_of(recipe, 0, index_of(landmarks))
  loss_of = jax.jit(steps.landmark_loss, static_argnums=0, compiler_options=QUICKLY)
  return float(loss_of(recipe, heatmaps, landmarks, views))


def sum_over_views(heatmaps: np.ndarray, landmarks: np.ndarray, views: View) -> float:
  """Squared differences from Gaussians of sigma 1, drawn view by view in NumPy.

  Args:
    heatmaps: (S, V, B, H, W, K).
    landmarks: (B, K, 2) crop px, NaN where not annotated.
    views: of shape (V, B).
  """
  row, column = np.mgrid[:CELLS, :CELLS]

  total = 0.0
  for v, b, k in np.ndindex(*views.mirrored.shape, len(FLIP)):
    # What channel k of this view is called in the crop.
    name = FLIP[k] if views.mirrored[v, b] else k
    if not np.isfinite(landmarks[b, name]).all():
      continue
    view_from_crop = np.asarray(views.view_from_crop[v, b], np.float64)
    x, y = (affine.apply(view_from_crop, landmarks[b, name]) + 0.5) / 4 - 0.5
    gaussian = np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)
    total += ((heatmaps[:, v, b, ..., k] - gaussian) ** 2).sum()
  return total


def random_case(num_views: int) -> tuple[np.ndarray, np.ndarray]:
  """Heatmaps (2, V, B, H, W, K) and landmarks (B, K, 2), one of them not annotated."""
  landmarks = make_batch()["landmarks"]
  landmarks[2, 1] = np.nan
  shape = (2, num_views, len(landmarks), CELLS, CELLS, len(FLIP))
  return np.random.default_rng(0).normal(size=shape).astype(np.float32), landmarks


@pytest.mark.slow
@pytest.mark.parametrize("num_views", [1, 2])
def test_each_view_is_compared_with_gaussians_in_its_own_frame(num_views):
  heatmaps, landmarks = random_case(num_views)
  recipe = dataclasses.replace(IN_VIEW, num_views=num_views)
  views = views_of(recipe, 0, index_of(landmarks))
  assert views.mirrored.any() and not views.mirrored.all()

  loss = landmark_loss(recipe, heatmaps, landmarks)

  expected = sum_over_views(heatmaps, landmarks, views) / num_views
  assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_same_loss_may_be_added_to_that_of_eq_6_with_a_weight():
  heatmaps, landmarks = random_case(2)
  views = views_of(RECIPE, 0, index_of(landmarks))
  with_view_loss = dataclasses.replace(RECIPE, view_loss=0.3)

  both, plain = (landmark_loss(r, heatmaps, landmarks) for r in (with_view_loss, RECIPE))

  expected = 0.3 * sum_over_views(heatmaps, landmarks, views) / 2
  assert both - plain == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "charged"), [("continuous", 0.016), ("rounded", 0.082)])
def test_a_perfect_network_has_no_loss_in_its_view_and_one_where_it_is_pulled_back(
  encoding, charged
):
  """At the paper's sizes, as a fraction of the energy of the targets.

  Pulling back resamples what was drawn exactly; rounded, it was drawn on another cell as well.
  """
  codec = HeatmapCodec(size=64, sigma=1.5, encoding=encoding)
  recipe = dataclasses.replace(IN_VIEW, codec=codec, crop=CropRule(), num_views=1)
  landmarks = np.random.default_rng(0).uniform(60, 196, (16, len(FLIP), 2)).astype(np.float32)
  views = views_of(recipe, 0, index_of(landmarks))

  in_views = landmarks_in_views(landmarks, views)
  perfect = encode(codec, in_views)[None]
  energy = float((encode(codec, landmarks) ** 2).sum())

  assert landmark_loss(recipe, perfect, landmarks) == 0
  pulled_back = dataclasses.replace(recipe, frame="crop")
  fraction = landmark_loss(pulled_back, perfect, landmarks) / energy
  assert fraction == pytest.approx(charged, rel=0.4)


@pytest.mark.parametrize(
  ("reduce", "target_scale"),
  [
    ("sum", None),
    pytest.param("sum", 1.0, marks=pytest.mark.slow),
    pytest.param("mean", None, marks=pytest.mark.slow),
    pytest.param("mean", 0.5, marks=pytest.mark.slow),
  ],
)
def test_combined_views_are_compared_with_the_gaussians_that_their_reading_asks_for(
  reduce, target_scale
):
  """The views look past one another, so that some cells are seen by two, some by one or none."""
  heatmaps, landmarks = random_case(2)
  far = dataclasses.replace(RECIPE.ranges, translation=0.6)
  recipe = dataclasses.replace(RECIPE, reduce=reduce, target_scale=target_scale, ranges=far)
  views = views_of(recipe, 0, index_of(landmarks))

  combined, seen = combine(heatmaps, views, reduce=reduce)
  combined, seen = np.asarray(combined, np.float64), np.asarray(seen)[..., None]
  assert (seen > 1.9).any() and (seen < 0.1).any() and (abs(seen - 1) < 0.1).any()
  gaussians = np.asarray(encode(recipe.codec, landmarks))
  height = target_scale or (seen if reduce == "sum" else 1)
  annotated = np.isfinite(landmarks).all(-1)[:, None, None]
  squares = np.minimum(seen, 1) * annotated * (combined - height * gaussians) ** 2

  assert landmark_loss(recipe, heatmaps, landmarks) == pytest.approx(squares.sum(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("target_scale", "learnt"), [(None, 1.0), (1.0, 0.5)])
def test_summed_views_learn_peaks_of_1_from_a_gaussian_each_and_of_a_half_from_one(
  target_scale, learnt
):
  """The loss is a parabola in the height of an ideal network's peaks; its vertex is learnt."""
  codec = HeatmapCodec(size=64, sigma=2.0)
  recipe = dataclasses.replace(RECIPE, codec=codec, crop=CropRule(), target_scale=target_scale)
  landmarks = np.random.default_rng(0).uniform(90, 166, (8, len(FLIP), 2)).astype(np.float32)
  views = views_of(recipe, 0, index_of(landmarks))
  in_views = landmarks_in_views(landmarks, views)
  ideal = np.asarray(encode(codec, in_views))[None]

  low, middle, high = (
    landmark_loss(recipe, height * ideal, landmarks) for height in (0.0, 0.5, 1.0)
  )

  vertex = 0.25 * (low - high) / (low - 2 * middle + high) + 0.5
  assert vertex == pytest.approx(learnt, abs=0.03)


def test_the_loss_through_the_local_window_is_added_with_its_weight():
  heatmaps, landmarks = random_case(2)
  recipe = dataclasses.replace(IN_VIEW, window_loss=0.3)
  views = views_of(recipe, 0, index_of(landmarks))
  in_views = landmarks_in_views(landmarks, views)

  both, plain = (landmark_loss(r, heatmaps, landmarks) for r in (recipe, IN_VIEW))

  position, target = window_positions(heatmaps, in_views, recipe.codec)
  squares = np.nansum((np.asarray(position) - np.asarray(target)) ** 2)
  assert squares > 1
  assert both - plain == pytest.approx(0.3 * squares / 2, rel=1e-3)


def test_eq_6_is_the_default_and_a_config_may_choose_the_view(tmp_path):
  assert RECIPE.frame == "crop"
  config = tiny_dataset.config(tmp_path)
  assert build.setup(config).recipe(steps_per_epoch=1).frame == "crop"

  config.siamese.frame = "view"
  assert build.setup(config).recipe(steps_per_epoch=1).frame == "view"
