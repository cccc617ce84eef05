"""The order of several datasets' images: each in its own epochs, all in every batch."""

import numpy as np
import pytest

from fal_jax.output.changes import images_ahead
from fal_jax.sampling.order import image_order

# 10, 4 and 2 images of a batch. grain takes milliseconds for an image of a few dozen.
LENGTHS, SHARES, BATCH = (800, 400, 200), (0.25, 0.125), 16
FIRSTS = np.cumsum([0, *LENGTHS])
STEPS = 250  # three epochs of the first dataset, two and a half of the others


def steps_of(start=0, stop=STEPS, **options):
  """(steps, batch) numbers of the images of some steps."""
  options = {"batch_size": BATCH, "seed": 3} | options
  order = image_order(LENGTHS, SHARES, **options)
  size = options["batch_size"]
  images = [order[place] for place in range(start * size, stop * size)]
  return np.reshape(images, (-1, size))


@pytest.fixture(scope="module")
def whole():
  return steps_of()


def datasets(images):
  """Which dataset each image is of."""
  return np.searchsorted(FIRSTS, images, side="right") - 1


def test_every_batch_has_every_share_in_an_order_of_its_own(whole):
  of = datasets(whole)
  assert {tuple(np.bincount(batch, minlength=3)) for batch in of} == {(10, 4, 2)}
  assert len({tuple(batch) for batch in of}) > 0.9 * STEPS  # of 120,120 orders


def test_shares_that_are_not_whole_images_are_kept_in_the_long_run():
  of = datasets(steps_of(stop=300, batch_size=5))

  counts = np.array([np.bincount(batch, minlength=3) for batch in of])
  expected = 5 * np.array([0.625, 0.25, 0.125])
  assert np.abs(counts - expected).max() < 2
  drift = np.cumsum(counts, 0) - expected * np.arange(1, 301)[:, None]
  assert np.abs(drift).max() <= 2


@pytest.mark.parametrize("dataset", [0, 1, 2])
def test_each_dataset_is_shown_in_epochs_of_its_own(whole, dataset):
  images = whole.ravel()
  shown = images[datasets(images) == dataset] - FIRSTS[dataset]
  length = LENGTHS[dataset]

  counts = np.bincount(shown, minlength=length)
  assert counts.min() == len(shown) // length >= 2
  assert counts.max() <= counts.min() + 1


def test_a_step_is_a_function_of_the_seed_and_its_number(whole):
  np.testing.assert_array_equal(steps_of(20, 30), whole[20:30])
  np.testing.assert_array_equal(steps_of(STEPS - 1, STEPS), whole[-1:])
  assert (steps_of(stop=9, seed=4) != whole[:9]).any()
  assert np.unique(steps_of(10**8, 10**8 + 1)).max() < sum(LENGTHS)


@pytest.mark.parametrize("size", [8, 48])
def test_another_batch_size_from_a_step_on_repeats_and_omits_nothing(whole, size):
  ahead = images_ahead([{"step": 30, "keys": {"train.batch_size": [BATCH, size]}}])
  later = steps_of(30, 30 + 240 // size, batch_size=size, ahead=ahead)

  # The same images as 15 more steps would have shown, in batches of the same shares.
  np.testing.assert_array_equal(np.sort(later.ravel()), np.sort(whole[30:45].ravel()))
  counts = {tuple(np.bincount(datasets(batch), minlength=3)) for batch in later}
  assert counts == {(size * 10 // 16, size * 4 // 16, size * 2 // 16)}


def test_what_a_run_is_ahead_adds_up_over_its_changes():
  def change(step, before, after):
    return {"step": step, "keys": {"train.batch_size": [before, after]}}

  assert images_ahead([]) == 0
  assert images_ahead([{"step": 7, "keys": {"optimizer.learning_rate": [1e-3, 1e-4]}}]) == 0
  # 10 steps of 8, 20 of 16, and from then on 4: 400 images after 30 steps.
  assert images_ahead([change(10, 8, 16), change(30, 16, 4)]) + 30 * 4 == 10 * 8 + 20 * 16


def test_the_greatest_seed_has_an_order_too():
  assert set(datasets(steps_of(stop=2, seed=2**32 - 1)).ravel()) == {0, 1, 2}


@pytest.mark.parametrize("count", [2, 4, 8])
def test_every_process_sees_every_dataset(whole, count):
  """Sixteen is a multiple of all of these, and a fixed pattern would show each process a part."""
  images = whole.ravel()
  for index in range(count):
    shown = np.bincount(datasets(images[index::count]), minlength=3) * count / len(images)
    np.testing.assert_allclose(shown, [0.625, 0.25, 0.125], atol=0.06)


def test_datasets_of_one_length_are_not_shuffled_alike():
  order = image_order((400, 400), (0.5,), batch_size=80, seed=0)
  images = np.array([order[place] for place in range(80)])
  assert set(images[images < 400]) != set(images[images >= 400] - 400)
