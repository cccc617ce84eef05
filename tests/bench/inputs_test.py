"""Synthetic datasets of the bench."""

from pathlib import Path

import numpy as np
import tiny_dataset

from fal_jax import build, data
from fal_jax.bench import inputs
from fal_jax.images import read_image


def test_synthetic_photographs_and_crops_are_read_like_a_dataset_s():
  rule = build.crop_rule(tiny_dataset.config(Path("nowhere")))
  for name, photo in inputs.photos(rule).items():
    source = inputs.synthetic_source(photo, 29)
    example = data.load_train_example(source, 3, rule)

    assert example["image"].shape == (rule.stored_size, rule.stored_size, 3)
    assert example["image"].std() > 10
    inside = (example["landmarks"] >= 0) & (example["landmarks"] < rule.size)
    assert inside.mean() > 0.9, name

    if "crops" in name:  # centred already, so that reading is decoding and nothing more
      pixels = read_image(source[3]["image"], name=name)
      np.testing.assert_array_equal(example["image"], pixels)


def test_a_synthetic_photograph_is_as_large_as_a_real_one():
  source = inputs.synthetic_source(inputs.Photo(800, 600, 280.0), 29)
  assert 100_000 < len(source[0]["image"]) < 200_000, "a photograph of 800 x 600 has about 135 kB"
