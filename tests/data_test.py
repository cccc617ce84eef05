"""Batches are a function of seed and step; landmarks lie where the pixels are."""

import shutil

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_dataset
import train_batches
from scipy import ndimage

from fal_jax import data, parallel
from fal_jax.crop import CropRule
from fal_jax.errors import InputError
from fal_jax.output import changes
from tfds_builders.common.schema import FaceDatasetInfo

RULE = CropRule(size=64, stored_size=104, face=55)
BATCH = 4
EPOCH = tiny_dataset.TRAIN // BATCH  # steps


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tiny_dataset.prepare(tmp_path_factory.mktemp("data"))


def open_split(data_dir, split="train", name=tiny_dataset.NAME, markup=tiny_dataset.MARKUP):
  return data.open_split(name, split, data_dir=str(data_dir), num_landmarks=markup)


@pytest.fixture(scope="module")
def train(data_dir):
  return open_split(data_dir)


@pytest.fixture(scope="module")
def test(data_dir):
  return open_split(data_dir, "test")


def take(source, count, **options):
  """The first `count` batches."""
  options = {"rule": RULE, "batch_size": BATCH, "seed": 0} | options
  return train_batches.first(source, count, **options)


def order(batches):
  return [batch["index"].tolist() for batch in batches]


def times_shown(batches):
  """How often each image was in them."""
  return np.bincount(np.concatenate([batch["index"] for batch in batches])).tolist()


def assert_same_batches(batches, expected):
  assert len(batches) == len(expected)
  for batch, wanted in zip(batches, expected, strict=True):
    assert sorted(batch) == sorted(wanted) == ["image", "index", "landmarks"]
    for name in batch:
      assert batch[name].dtype == wanted[name].dtype
      np.testing.assert_array_equal(batch[name], wanted[name])


def test_batches_cached_on_the_host_hold_the_same_bits(train):
  assert_same_batches(take(train, 6, cache="host"), take(train, 6))


def test_batches_gathered_on_the_devices_hold_the_same_bits(train):
  gather = parallel.make_device_cache(data.decode_all(train, RULE))

  indices = take(train, 6, cache="device", batch_size=8)
  assert [sorted(batch) for batch in indices] == [["index"]] * 6
  gathered = [jax.tree.map(np.asarray, gather(batch)) for batch in indices]

  expected = take(train, 6, batch_size=8)
  assert_same_batches(gathered, list(map(parallel.split_over_devices, expected)))


def test_a_cache_that_does_not_fit_on_a_device_is_refused_with_a_remedy(monkeypatch):
  class Small:
    def memory_stats(self):
      return {"bytes_limit": 3_000_000_000, "bytes_in_use": 1_000_000_000}

  monkeypatch.setattr(jax, "local_devices", lambda: [Small()])
  crops = np.broadcast_to(np.uint8(0), (1_500_000_000,))

  named = r"crops take 1\.5 GB and a device has 2\.0 GB free.*data\.cache=host"
  with pytest.raises(InputError, match=named):
    parallel.make_device_cache({"image": crops})


def test_a_batch_holds_stored_squares_crop_landmarks_and_indices(train):
  (batch,) = take(train, 1)

  assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
    "image": ("uint8", (BATCH, 104, 104, 3)),
    "landmarks": ("float32", (BATCH, tiny_dataset.MARKUP, 2)),
    "index": ("int32", (BATCH,)),
  }


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(train):
  first, again, other = (take(train, EPOCH, seed=seed) for seed in (5, 5, 6))
  assert_same_batches(first, again)
  assert order(first) != order(other)


def test_every_epoch_shows_every_image_once_in_a_new_order(train):
  epochs = np.reshape(order(take(train, 3 * EPOCH)), (3, tiny_dataset.TRAIN))
  np.testing.assert_array_equal(np.sort(epochs), [range(tiny_dataset.TRAIN)] * 3)
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_batches_that_do_not_divide_an_epoch_omit_no_image(train):
  assert times_shown(take(train, 12, batch_size=5)) == [5] * tiny_dataset.TRAIN


@pytest.mark.parametrize("batch_size", [1, 24])
def test_batches_of_one_and_of_more_than_an_epoch(train, batch_size):
  batches = take(train, 24 // batch_size, batch_size=batch_size)
  assert all(len(batch["image"]) == batch_size for batch in batches)
  assert times_shown(batches) == [2] * tiny_dataset.TRAIN


def test_starting_at_any_step_equals_the_uninterrupted_stream(train):
  whole = take(train, 2 * EPOCH + 2)
  for step in range(2 * EPOCH):
    assert_same_batches(take(train, 2, start_step=step), whole[step : step + 2])


def test_batches_of_another_size_go_on_where_those_before_stopped(train):
  """After five batches of 4, in the second epoch; images_ahead says how far they have come."""
  whole = np.concatenate(order(take(train, 11, cache="device")))
  for size in (2, 8):
    ahead = changes.images_ahead([{"step": 5, "keys": {"train.batch_size": [BATCH, size]}}])
    later = take(train, 24 // size, batch_size=size, start_step=5, ahead=ahead, cache="device")
    np.testing.assert_array_equal(np.concatenate(order(later)), whole[5 * BATCH :])


def test_starting_late_in_a_long_run_reads_no_earlier_image(train):
  class Counted:
    read = 0

    def __len__(self):
      return len(train)

    def __getitem__(self, index):
      self.read += 1
      return train[index]

  source = Counted()

  take(source, 1, start_step=10**6)

  assert source.read <= 16 * BATCH


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_all_processes_together_are_the_batches_of_one(train, count):
  whole = take(train, EPOCH + 1)

  shares = [
    take(train, EPOCH + 1, process_index=index, process_count=count) for index in range(count)
  ]

  for step, batch in enumerate(whole):
    parts = [share[step] for share in shares]
    assert all(len(part["index"]) == BATCH // count for part in parts)

    # Neighbours, as devices have: more processes with fewer devices each change no share.
    joined = {name: np.concatenate([part[name] for part in parts]) for name in batch}
    assert_same_batches([joined], [batch])


@pytest.mark.parametrize("box", ["landmarks", "dataset"])
def test_landmarks_are_where_the_pixels_show_them(train, test, box):
  """The eyes are isolated white discs, whose centres of mass are measured.

  In stored squares as in crops.
  """
  rule = CropRule(size=64, stored_size=104, face=55, box=box)
  for index in range(6):
    stored = data.load_train_example(train, index, rule)
    check_eyes(stored["image"], stored["landmarks"] + 20)  # the margin is (104 - 64) / 2

    example = data.load_eval_example(test, index, rule)
    m = example["crop_from_image"]
    check_eyes(example["image"], example["landmarks"] @ m[:, :2].T + m[:, 2])


def check_eyes(image, landmarks):
  """The eyes' discs are at the eyes' landmarks."""
  for eye in tiny_dataset.EYES:
    column, row = np.round(landmarks[eye]).astype(int)
    window = image[row - 4 : row + 5, column - 4 : column + 5].mean(-1)
    y, x = ndimage.center_of_mass(np.maximum(window - 40, 0))
    np.testing.assert_allclose([x + column - 4, y + row - 4], landmarks[eye], atol=0.1)


def test_the_larger_side_of_the_landmarks_is_the_face(train):
  landmarks = data.load_train_example(train, 0, RULE)["landmarks"]
  assert np.ptp(landmarks, 0).max() == pytest.approx(RULE.face, rel=1e-5)
  np.testing.assert_allclose((landmarks.min(0) + landmarks.max(0)) / 2, 31.5, atol=1e-4)


def test_a_landmark_that_is_not_annotated_stays_nan(train):
  record = dict(train[0])
  record["landmarks"] = record["landmarks"].copy()
  record["landmarks"][3] = np.nan

  landmarks = data.load_train_example([record], 0, RULE)["landmarks"]
  np.testing.assert_array_equal(np.isnan(landmarks).any(-1), np.arange(tiny_dataset.MARKUP) == 3)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 11, 50])
def test_evaluation_yields_every_image_once_in_order(test, batch_size):
  batches = list(data.eval_batches(test, rule=RULE, batch_size=batch_size))

  assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
  ids = [example["id"] for batch in batches for example in batch]
  assert ids == [data.example_id(test[index]) for index in range(tiny_dataset.TEST)]
  assert sorted(ids) == [f"test/{100 + number}.png" for number in range(tiny_dataset.TEST)]


def test_the_second_face_of_an_image_has_a_name_of_its_own(test):
  assert data.example_id({**test[0], "file_name": b"a/b.jpg", "face_index": 2}) == "a/b.jpg#2"


def test_a_part_of_a_split_can_be_opened(data_dir):
  assert len(open_split(data_dir, "train[:50%]")) == tiny_dataset.TRAIN // 2


def ids(source):
  return [data.example_id(record) for record in source]


@pytest.mark.parametrize("split", ["train+test", "test[:30%] + train", "test[5:8]+train+test[:2]"])
def test_a_union_is_its_parts_one_after_the_other(data_dir, split):
  union = open_split(data_dir, split)

  expected = [name for part in split.split("+") for name in ids(open_split(data_dir, part.strip()))]
  assert ids(union) == expected
  assert len(union) == len(expected)


def test_batches_of_a_union_show_every_image_once_per_epoch(data_dir, train, test):
  union = open_split(data_dir, "train+test[:4]")
  batches = take(union, 8, seed=5)

  assert times_shown(batches) == [2] * (tiny_dataset.TRAIN + 4)
  assert_same_batches(batches, take([*train, *(test[index] for index in range(4))], 8, seed=5))


def test_a_dataset_is_found_through_the_environment(data_dir, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
  source = data.open_split(
    tiny_dataset.NAME, "test", data_dir=None, num_landmarks=tiny_dataset.MARKUP
  )
  assert len(source) == tiny_dataset.TEST


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"name": "wflw"}, r"tfds_builders\.prepare wflw --data_dir="),
    ({"name": "w300"}, r"tfds_builders\.prepare w300"),  # ours, but it has not been run here
    ({"name": "mnist"}, "not prepared"),  # one of TFDS's builders
    ({"name": "../tiny_faces"}, "not prepared"),
    ({"name": "tiny_faces/98"}, "not prepared"),
    ({"name": ""}, "not prepared"),
    ({"split": "valid"}, "no split 'valid'; it has nowhere, test, train"),
    ({"split": "train[:0]"}, "holds no image"),
    ({"split": "train[abc"}, r"train\[:90%\]"),
    ({"split": "train+valid"}, "no split 'valid'; it has nowhere, test, train"),
    ({"split": "train+"}, "no split ''; it has nowhere, test, train"),
    ({"split": "train+test[:0]"}, r"'test\[:0\]' of 'tiny_faces' holds no image"),
    ({"split": "test+train+test"}, "'test' and 'test' of 'tiny_faces' share 11 faces, such as"),
    ({"split": "train[:8]+train[6:]"}, r"share 2 faces, .* '.*\+.*' must not overlap"),
    ({"markup": 68}, r"29 landmarks but config.data.markup is 68: set --config.data.markup=29"),
  ],
)
def test_what_cannot_be_opened_is_refused_with_a_remedy(data_dir, options, named):
  with pytest.raises(InputError, match=named) as error:
    open_split(data_dir, **options)
  assert "\n" not in str(error.value)


def test_damaged_or_missing_files_of_a_dataset_are_one_sentence(data_dir, tmp_path):
  shutil.copytree(data_dir / tiny_dataset.NAME, tmp_path / tiny_dataset.NAME)
  (file,) = (tmp_path / tiny_dataset.NAME).rglob("*test.array_record*")
  content = bytearray(file.read_bytes())
  content[100:200] = bytes(100)

  for damage in (lambda: file.write_bytes(content), lambda: file.write_bytes(b""), file.unlink):
    damage()
    with pytest.raises(InputError, match="--overwrite") as error:
      open_split(tmp_path, "test")
    assert "\n" not in str(error.value)

  assert len(open_split(tmp_path)) == tiny_dataset.TRAIN


def test_a_dataset_of_something_else_is_refused(tmp_path):
  class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      features = tfds.features.FeaturesDict({"number": np.int32})
      return FaceDatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      yield "0", {"number": 0}

  Numbers(data_dir=tmp_path, file_format="array_record").download_and_prepare(download_dir=tmp_path)
  with pytest.raises(InputError, match="no landmarks"):
    open_split(tmp_path, name="numbers")


def test_a_face_without_the_wanted_box_is_named_by_training_and_evaluation_alike(data_dir):
  rule = CropRule(size=64, stored_size=104, face=55, box="dataset")
  source = open_split(data_dir, "nowhere")

  named = r"nowhere/200\.png has no dataset box: set --config\.data\.box=landmarks"
  with pytest.raises(InputError, match=named):
    take(source, 1, rule=rule, batch_size=1)
  with pytest.raises(InputError, match=r"nowhere/200\.png has no dataset box"):
    list(data.eval_batches(source, rule=rule, batch_size=2))


def test_an_image_that_does_not_decode_is_named(test):
  record = {**test[0], "image": b"<html>"}
  with pytest.raises(InputError, match=r"test/1\d\d\.png.*HTML"):
    list(data.eval_batches([record], rule=RULE, batch_size=1))
