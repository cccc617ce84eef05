"""Training on several splits at once: what is in a batch, whatever cache, step or process asks."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny_dataset
import train_batches
from runs import saved_steps
from tiny_dataset import last_digest

from fal_jax import config_json, data, parallel
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.output.changes import check_resumable

RULE = CropRule(size=64, stored_size=104, face=55)
BATCH = 8
SHARE = 0.25
ROWS = ((tiny_dataset.NAME, "test", SHARE),)


def open_mix(folder, rows=ROWS, markup=tiny_dataset.MARKUP):
  return data.open_mix(rows, data_dir=str(folder), num_landmarks=markup)


@pytest.fixture(scope="module")
def source(folder):
  ((source, _),) = open_mix(folder, ((tiny_dataset.NAME, "train", SHARE),))
  return source


@pytest.fixture(scope="module")
def mix(folder):
  """Another split, whose records say more than those of the first."""
  ((other, share),) = open_mix(folder)
  return [([{**record, "tags": "profile"} for record in other], share)]


def take(source, count, **options):
  """The first `count` batches."""
  options = {"rule": RULE, "batch_size": BATCH, "seed": 0} | options
  return train_batches.first(source, count, **options)


def assert_same_batches(batches, expected):
  assert len(batches) == len(expected)
  jax.tree.map(np.testing.assert_array_equal, batches, expected)


def test_a_batch_holds_the_images_that_its_indices_say(source, mix):
  ((other, _),) = mix
  batch = take(source, 1, mix=mix)[0]

  assert (batch["index"] >= tiny_dataset.TRAIN).sum() == SHARE * BATCH
  for place, index in enumerate(batch["index"]):
    main = index < tiny_dataset.TRAIN
    each, number = (source, index) if main else (other, index - tiny_dataset.TRAIN)
    expected = data.load_train_example(each, int(number), RULE)
    np.testing.assert_array_equal(batch["image"][place], expected["image"])
    np.testing.assert_array_equal(batch["landmarks"][place], expected["landmarks"])


def test_nothing_mixed_in_leaves_the_order_as_it_was(source):
  assert_same_batches(take(source, 4, mix=()), take(source, 4))


def test_starting_at_any_step_equals_the_uninterrupted_stream(source, mix):
  whole = take(source, 12, mix=mix)
  for step in range(0, 10, 3):
    assert_same_batches(take(source, 2, mix=mix, start_step=step), whole[step : step + 2])


def test_batches_cached_on_the_host_hold_the_same_bits(source, mix):
  assert_same_batches(take(source, 6, mix=mix, cache="host"), take(source, 6, mix=mix))


def test_batches_gathered_on_the_devices_hold_the_same_bits(source, mix):
  gather = parallel.make_device_cache(data.decode_all(source, RULE, mix=mix))

  indices = take(source, 6, mix=mix, cache="device")
  gathered = [jax.tree.map(np.asarray, gather(batch)) for batch in indices]

  expected = take(source, 6, mix=mix)
  assert_same_batches(gathered, list(map(parallel.split_over_devices, expected)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_all_processes_together_are_the_batches_of_one(source, mix, count):
  whole = take(source, 5, mix=mix)
  parts = [
    take(source, 5, mix=mix, process_index=index, process_count=count) for index in range(count)
  ]

  for step, batch in enumerate(whole):
    joined = {name: np.concatenate([part[step][name] for part in parts]) for name in batch}
    assert_same_batches([joined], [batch])


@pytest.mark.parametrize(
  ("rows", "markup", "named"),
  [
    ((("wflw", "train", 0.5),), 29, r"'wflw' is not prepared .*tfds_builders\.prepare wflw"),
    (((tiny_dataset.NAME, "valid", 0.5),), 29, "no split 'valid'; it has nowhere, test, train"),
    (ROWS, 68, "'tiny_faces' has 29 landmarks but config.data.markup is 68"),
  ],
)
def test_what_cannot_be_opened_is_refused_with_a_remedy(folder, rows, markup, named):
  with pytest.raises(InputError, match=named) as error:
    open_mix(folder, rows, markup)
  assert "\n" not in str(error.value)


def test_a_face_without_the_wanted_box_is_named_though_it_is_mixed_in(folder, source):
  mix = open_mix(folder, ((tiny_dataset.NAME, "nowhere", 0.5),))
  rule = dataclasses.replace(RULE, box="dataset")
  with pytest.raises(InputError, match=r"nowhere/200\.png has no dataset box"):
    take(source, 1, mix=mix, rule=rule)


# ---- Runs


def test_a_saved_mix_has_the_types_that_flags_must_have(folder):
  config = tiny_dataset.config(folder, data__mix=ROWS)
  assert config_json.from_json(config_json.to_json(config)).data.mix == ROWS


def test_a_run_does_not_resume_under_another_mix_or_with_more_images(folder, tmp_path):
  def started(images, rows):
    config = tiny_dataset.config(folder, data__mix=rows)
    return {"config": config_json.to_json(config), "train_images": images}

  check_resumable(started(23, ROWS), started(23, ROWS), tmp_path)
  for rows in ((), ((tiny_dataset.NAME, "test", 0.5),)):
    with pytest.raises(InputError, match=r"another config.*\n  data\.mix: .* there, .* here$"):
      check_resumable(started(23, ROWS), started(23, rows), tmp_path)
  with pytest.raises(InputError, match="23 images and 'tiny_faces' with 'tiny_faces' now has 24"):
    check_resumable(started(23, ROWS), started(24, ROWS), tmp_path)


@pytest.mark.heavy
def test_a_run_on_a_mix_counts_epochs_of_its_main_dataset_and_resumes(folder, tmp_path, capsys):
  """Six images, four of every batch, are an epoch of one step and a half."""
  options = {"data__train_split": "train[:6]", "data__mix": ((tiny_dataset.NAME, "test", 0.5),)}
  halfway = tiny_dataset.config(folder, train__epochs=2.0, **options)
  whole = tiny_dataset.config(folder, train__epochs=4.0, **options)

  tiny_dataset.run_without_figures(halfway, tmp_path / "stopped")
  assert "Training on 17 images, steps 1 to 3;" in capsys.readouterr().out
  tiny_dataset.run_without_figures(whole, tmp_path / "stopped")
  assert "Resuming from step 3 of 6" in capsys.readouterr().out
  tiny_dataset.run_without_figures(whole, tmp_path / "whole")

  assert saved_steps(tmp_path / "whole") == [5, 6]
  assert last_digest(tmp_path / "stopped") == last_digest(tmp_path / "whole")
  saved = json.loads((tmp_path / "whole" / "config.json").read_text())
  assert saved["data"]["mix"] == [[tiny_dataset.NAME, "test", 0.5]]
